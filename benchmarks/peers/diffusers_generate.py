#!/usr/bin/env python3
"""Times Python diffusers on a FluxPipeline folder: the peer that glance4j is measured against.

One shot: warm up, generate --repeats pictures, print one JSON line with the seconds of each.
--serve:  one JSON request per line of stdin, one generation, one JSON line back; a driver alternates this
          process with its own, so that both meet the same load. Request keys (all optional; the command
          line gives the defaults): prompt, negative_prompt, steps, sigmas, cfg, guidance, height, width, seed,
          max_text_tokens, png. A list as "prompt" is a batch. {"quit": true} or end of input ends it.

Standard output carries JSON lines only; whatever the libraries say goes to standard error.
"""
import argparse
import json
import os
import statistics
import sys
import time


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a FluxPipeline (model_index.json, transformer/, vae/, ...)")
    parser.add_argument("--prompt", nargs="+", default=["red apple"], help="one prompt, or several for a batch")
    parser.add_argument("--negative-prompt", default="", help="used when --cfg is above 1 (default: empty)")
    parser.add_argument("--steps", type=int, default=10, help="denoising steps (default: 10)")
    parser.add_argument("--sigmas", type=float, nargs="+",
                        help="noise levels before the shift, instead of --steps even ones")
    parser.add_argument("--cfg", type=float, default=1.0, help="true classifier-free guidance; 1 is none (default)")
    parser.add_argument("--guidance", type=float, default=3.5, help="distilled guidance, where the model takes it")
    parser.add_argument("--size", default="64", help="N or HEIGHTxWIDTH in pixels (default: 64)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda; noise is drawn on the CPU either way")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="timed generations (default: 5)")
    parser.add_argument("--warmup", type=int, default=1, help="generations before the clock runs (default: 1)")
    parser.add_argument("--max-text-tokens", type=int, default=32, help="T5 length (default: 32; FLUX.1-dev: 512)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the CPU generator, the same for every repeat")
    parser.add_argument("--keep-prompt-embeds", action="store_true",
                        help="encode each prompt once and outside the clock, for a peer that caches prompts")
    parser.add_argument("--slow", help="LoRA file of the slow phase (first --slow-steps steps)")
    parser.add_argument("--fast", help="LoRA file of the fast phase (the rest)")
    parser.add_argument("--slow-steps", type=int, default=5)
    parser.add_argument("--png", help="write the (first) picture of the last generation here")
    parser.add_argument("--json", help="also append the JSON line to this file")
    parser.add_argument("--serve", action="store_true", help="answer requests from stdin instead of repeating one")
    args = parser.parse_args()
    if bool(args.slow) != bool(args.fast):
        parser.error("--slow and --fast belong together")
    return args


def parse_size(text):
    height, _, width = text.lower().partition("x")
    return int(height), int(width or height)


class Peer:
    """A loaded pipeline that generates one request at a time."""

    def __init__(self, args):
        # Some thread pools are sized when torch is first imported, so the imports wait for the arguments.
        os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
        import diffusers
        import torch
        import transformers
        torch.set_num_threads(args.threads)
        started = time.perf_counter()
        self.torch = torch
        self.args = args
        self.pipe = diffusers.FluxPipeline.from_pretrained(args.model, torch_dtype=getattr(torch, args.dtype))
        self.pipe.to(args.device)
        self.pipe.set_progress_bar_config(disable=True)
        if args.slow:
            self.pipe.load_lora_weights(args.slow, adapter_name="slow")
            self.pipe.load_lora_weights(args.fast, adapter_name="fast")
        self.embeds = {}
        self.about = {
            "peer": "diffusers", "diffusers": diffusers.__version__, "torch": torch.__version__,
            "transformers": transformers.__version__, "dtype": args.dtype, "device": args.device,
            "threads": torch.get_num_threads(), "load_seconds": round(time.perf_counter() - started, 4),
        }

    def defaults(self):
        height, width = parse_size(self.args.size)
        prompt = self.args.prompt if len(self.args.prompt) > 1 else self.args.prompt[0]
        return {
            "prompt": prompt, "negative_prompt": self.args.negative_prompt, "steps": self.args.steps,
            "sigmas": self.args.sigmas, "cfg": self.args.cfg, "guidance": self.args.guidance, "height": height,
            "width": width, "seed": self.args.seed, "max_text_tokens": self.args.max_text_tokens, "png": None,
        }

    def text_arguments(self, request):
        """The prompt itself, or its embeddings where --keep-prompt-embeds takes text out of the measurement."""
        prompt, negative = request["prompt"], request["negative_prompt"]
        # One negative prompt would do for a batch of prompts, but embeddings have to have equal shapes.
        if isinstance(prompt, list) and isinstance(negative, str):
            negative = [negative] * len(prompt)
        if not self.args.keep_prompt_embeds:
            return {"prompt": prompt, "negative_prompt": negative if request["cfg"] > 1 else None}
        embeds, pooled = self.encoded(prompt, request["max_text_tokens"])
        arguments = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        if request["cfg"] > 1:
            embeds, pooled = self.encoded(negative, request["max_text_tokens"])
            arguments |= {"negative_prompt_embeds": embeds, "negative_pooled_prompt_embeds": pooled}
        return arguments

    def encoded(self, prompt, tokens):
        key = (json.dumps(prompt), tokens)
        if key not in self.embeds:
            with self.torch.no_grad():
                self.embeds[key] = self.pipe.encode_prompt(prompt, max_sequence_length=tokens)[:2]
        return self.embeds[key]

    def switch_phase(self, pipe, step, timestep, tensors):
        if step + 1 == self.args.slow_steps:
            pipe.set_adapters("fast")
        return tensors

    def generate(self, request):
        """Returns (seconds, first picture); the clock covers text to pixels."""
        text = self.text_arguments(request)
        generator = self.torch.Generator("cpu").manual_seed(request["seed"])
        self.synchronize()
        started = time.perf_counter()
        if self.args.slow:
            self.pipe.set_adapters("slow")
        pictures = self.pipe(
            **text, true_cfg_scale=request["cfg"], guidance_scale=request["guidance"],
            num_inference_steps=request["steps"], sigmas=request["sigmas"], height=request["height"],
            width=request["width"], max_sequence_length=request["max_text_tokens"], generator=generator,
            callback_on_step_end=self.switch_phase if self.args.slow else None).images
        self.synchronize()
        return time.perf_counter() - started, pictures[0]

    def synchronize(self):
        if self.args.device != "cpu":
            self.torch.cuda.synchronize()


def reply(line, file=None):
    text = json.dumps(line, ensure_ascii=False)
    print(text, flush=True)
    if file:
        with open(file, "a", encoding="utf-8") as out:
            out.write(text + "\n")


def repeat(peer, args):
    request = peer.defaults()
    for _ in range(args.warmup):
        peer.generate(request)
    seconds = []
    for _ in range(args.repeats):
        spent, picture = peer.generate(request)
        seconds.append(round(spent, 6))
    if args.png:
        picture.save(args.png)
    reply({"median": statistics.median(seconds), "min": min(seconds), "seconds": seconds,
           "request": request, **peer.about}, args.json)


def serve(peer, args):
    reply({"ready": True, **peer.about})
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            if asked.get("quit"):
                return
            request = peer.defaults()
            unknown = asked.keys() - request.keys()
            if unknown:
                raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(request)}")
            request |= asked
            spent, picture = peer.generate(request)
            if request["png"]:
                picture.save(request["png"])
            reply({"seconds": round(spent, 6), **asked}, args.json)
        except Exception as error:  # one bad request must not end a run of many
            reply({"error": f"{type(error).__name__}: {error}"})


def main():
    args = parse_args()
    peer = Peer(args)
    (serve if args.serve else repeat)(peer, args)


if __name__ == "__main__":
    main()

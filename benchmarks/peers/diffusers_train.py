#!/usr/bin/env python3
"""Times the published one-sample training step as Python users run it: diffusers' FLUX transformer, PEFT, AdamW.

One step: one timestep drawn from the phase's five, fresh noise, x = (1 - sigma) x_0 + sigma noise, mean square of
(prediction - (noise - x_0)), backward, gradient norm clipped to 1, AdamW. Text embeddings and latents are computed
once, outside the clock; everything is float32.

One shot:  --warmup steps, then --steps timed ones, and one JSON line with the seconds of each.
--serve:   one JSON request per line of stdin, {"steps": 10}, and one JSON line back with the seconds and losses of
           those steps; a driver alternates this process with its own. {"quit": true} or end of input ends it.
--goldens: replays the recorded runs of a reference folder (goldens/flux_train.safetensors, its manifest.json one
           folder up) and prints how far losses, gradient norms and weights are off; above 1e-6 is an error.

Standard output carries JSON lines only; whatever the libraries say goes to standard error.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

from diffusers_generate import parse_size, reply

# Which of 50 steps each expert trains on (the paper's numbering starts at 1).
PHASES = {"slow": [1, 3, 5, 7, 9], "fast": [11, 21, 31, 41, 50]}
BASE_STEPS = 50
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
GOLDEN_IMAGE_TOKENS = 4096  # the recorded runs keep the timesteps of 1024x1024
GOLDEN_TOLERANCE = 1e-6


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a FluxPipeline (model_index.json, transformer/, vae/, ...)")
    parser.add_argument("--image", help="the one picture; needed unless --goldens")
    parser.add_argument("--caption", default="red apple", help="its caption (default: red apple)")
    parser.add_argument("--phase", choices=list(PHASES), default="slow", help="which expert (default: slow)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: 20)")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the clock runs (default: 5)")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=64)
    parser.add_argument("--checkpoint", action="store_true", help="gradient checkpointing of every block")
    parser.add_argument("--fused", action="store_true", help="AdamW as one fused kernel instead of PyTorch's default")
    parser.add_argument("--guidance", type=float, default=1.0, help="fed only to a model with guidance_embeds")
    parser.add_argument("--size", default="64", help="N or HEIGHTxWIDTH in pixels (default: 64)")
    parser.add_argument("--max-text-tokens", type=int, default=32, help="T5 length (default: 32; FLUX.1-dev: 512)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="also append the JSON line to this file")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--serve", action="store_true", help="answer requests from stdin")
    mode.add_argument("--goldens", help="replay this flux_train.safetensors")
    args = parser.parse_args()
    if not args.goldens and not args.image:
        parser.error("--image is needed: the picture to train on")
    return args


class Trainer:
    """One expert: a frozen transformer with a fresh adapter on it, and the adapter's optimiser."""

    def __init__(self, torch, pipe, args):
        from peft import LoraConfig
        self.torch, self.args, self.pipe = torch, args, pipe
        self.transformer = pipe.transformer
        self.transformer.requires_grad_(False)
        # PEFT draws A from the global generator: N(0, 1/rank) with "gaussian", and B is zero.
        torch.manual_seed(args.seed)
        self.transformer.add_adapter(LoraConfig(r=args.rank, lora_alpha=args.alpha, init_lora_weights="gaussian",
                                                target_modules=TARGETS))
        if args.checkpoint:
            self.transformer.enable_gradient_checkpointing()
        self.transformer.train()
        self.weights = {name.replace(".default.", "."): parameter
                        for name, parameter in self.transformer.named_parameters() if parameter.requires_grad}
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=5e-4, betas=(0.9, 0.999), eps=1e-8,
                                           weight_decay=0.01, fused=args.fused or None)

    def step(self, latents, noise, sigma, timestep, text):
        """One update. timestep is what the transformer is handed (sigma's scale); returns (loss, norm) before it."""
        torch, pipe = self.torch, self.pipe
        batch, channels, height, width = latents.shape
        noisy = (1 - sigma) * latents + sigma * noise
        guidance = None
        if self.transformer.config.guidance_embeds:
            guidance = torch.full([batch], self.args.guidance)
        embeds, pooled = text
        prediction = self.transformer(
            hidden_states=pipe._pack_latents(noisy, batch, channels, height, width), timestep=timestep.expand(batch),
            guidance=guidance, encoder_hidden_states=embeds, pooled_projections=pooled,
            txt_ids=torch.zeros(embeds.shape[1], 3),
            img_ids=pipe._prepare_latent_image_ids(batch, height // 2, width // 2, "cpu", torch.float32),
            return_dict=False)[0]
        prediction = pipe._unpack_latents(prediction, height * pipe.vae_scale_factor, width * pipe.vae_scale_factor,
                                          pipe.vae_scale_factor)
        loss = torch.nn.functional.mse_loss(prediction, noise - latents)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.gradients = {name: weight.grad for name, weight in self.weights.items()}
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item(), norm.item()


class Sample:
    """The picture and the caption, encoded once, and the draws of timestep and noise."""

    def __init__(self, torch, pipe, args):
        self.torch = torch
        height, width = parse_size(args.size)
        self.generator = torch.Generator("cpu").manual_seed(args.seed)
        with torch.no_grad():
            self.text = pipe.encode_prompt(args.caption, None, max_sequence_length=args.max_text_tokens)[:2]
            self.latents = encode(pipe, args.image, height, width, self.generator)
        tokens = self.latents.shape[2] * self.latents.shape[3] // 4
        self.timesteps = phase_timesteps(torch, pipe, tokens)[args.phase]

    def train(self, trainer):
        torch = self.torch
        timestep = self.timesteps[torch.randint(len(self.timesteps), (1,), generator=self.generator)]
        noise = torch.randn(self.latents.shape, generator=self.generator)
        sigma = timestep / 1000
        return trainer.step(self.latents, noise, sigma, sigma, self.text)


def encode(pipe, path, height, width, generator):
    from PIL import Image
    pixels = pipe.image_processor.preprocess(Image.open(path).convert("RGB"), height, width)
    sampled = pipe.vae.encode(pixels).latent_dist.sample(generator)
    return (sampled - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor


def phase_timesteps(torch, pipe, image_tokens):
    """The float32 timesteps of both experts: entries of the 50-step list shifted for that many image tokens."""
    import numpy
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift
    config = pipe.scheduler.config
    mu = calculate_shift(image_tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift,
                         config.max_shift)
    pipe.scheduler.set_timesteps(sigmas=numpy.linspace(1, 1 / BASE_STEPS, BASE_STEPS), mu=mu)
    return {phase: pipe.scheduler.timesteps[torch.tensor(steps) - 1] for phase, steps in PHASES.items()}


def timed(trainer, sample, steps):
    seconds, losses = [], []
    for _ in range(steps):
        started = time.perf_counter()
        loss, _ = sample.train(trainer)
        seconds.append(round(time.perf_counter() - started, 6))
        losses.append(loss)
    return seconds, losses


def peak_mib():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # kilobytes on Linux


def repeat(trainer, sample, about, args):
    timed(trainer, sample, args.warmup)
    seconds, losses = timed(trainer, sample, args.steps)
    reply({"median": statistics.median(seconds), "min": min(seconds), "seconds": seconds, "losses": losses,
           "peak_mib": peak_mib(), **about}, args.json)


def serve(trainer, sample, about, args):
    reply({"ready": True, **about})
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            if asked.get("quit"):
                return
            if asked.keys() != {"steps"}:
                raise ValueError(f"unknown request {sorted(asked)}; it is {{\"steps\": N}}")
            seconds, losses = timed(trainer, sample, asked["steps"])
            reply({"seconds": seconds, "losses": losses, "peak_mib": peak_mib()}, args.json)
        except Exception as error:  # one bad request must not end a run of many
            reply({"error": f"{type(error).__name__}: {error}"})


def golden_inputs(torch, grid, timestep, rounded):
    """(sigma that mixes the noise, timestep handed to the model) of a recorded step.

    The authors list timesteps with four decimals and keep them in bfloat16: 986.9786 becomes 988. The noise level is
    the entry of the grid 1000, 999, ..., 1 nearest to that (the first of two: 60.5 gives 61), over 1000 in float32;
    the model gets timestep / 1000 rounded to bfloat16 once more (0.98828125), cast to float32.
    """
    timestep = (timestep.double() * 1e4).round().div(1e4).float()
    if not rounded:
        return timestep / 1000, timestep / 1000
    timestep = timestep.to(torch.bfloat16)
    nearest = (grid.timesteps - timestep.float()).abs().argmin()
    return grid.sigmas[nearest], (timestep / 1000).float()


def replay(torch, load_pipe, args):
    """Runs the recorded steps of slow, fast and slow_exact_t; returns the worst relative difference."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from safetensors.torch import load_file
    golden = load_file(args.goldens)
    path = Path(args.goldens)
    manifest = json.loads((path.parents[1] / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["files"][f"{path.parent.name}/{path.name}"]["config"]
    args.rank, args.alpha, args.guidance = config["rank"], config["alpha"], config["guidance"]
    text = golden["prompt_embeds"], golden["pooled_prompt_embeds"]
    grid = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    worst = 0
    for run in ("slow", "fast", "slow_exact_t"):
        phase = run[:4]
        pipe = load_pipe()
        timesteps = phase_timesteps(torch, pipe, GOLDEN_IMAGE_TOKENS)[phase]
        trainer = Trainer(torch, pipe, args)
        install(torch, trainer, golden)
        seen, off = {"sigma": [], "t_in": [], "loss": [], "grad_norm": []}, Differences(torch)
        for i, entry in enumerate(config[f"order_{phase}"]):
            sigma, timestep = golden_inputs(torch, grid, timesteps[entry], run != "slow_exact_t")
            loss, norm = trainer.step(golden[f"latents{i}"], golden[f"noise{i}"], sigma, timestep, text)
            for name, value in zip(seen, (sigma, 1000 * timestep, loss, norm)):
                seen[name].append(float(value))
            off.add(f"{run}.step{i + 1}.clipped_grad.", trainer.gradients, golden)
            off.add(f"{run}.step{i + 1}.", trainer.weights, golden)
        off.add(f"{run}.", {name: torch.tensor(values) for name, values in seen.items()}, golden, together=False)
        reply({"run": run, "checkpoint": args.checkpoint, "relative": off.relative, "largest": off.largest}, args.json)
        worst = max(worst, *off.relative.values())
    return worst


class Differences:
    """What was computed against what was recorded: ||ours - recorded|| / ||recorded||, and the largest difference."""

    def __init__(self, torch):
        self.torch, self.relative, self.largest = torch, {}, {}

    def add(self, prefix, values, golden, together=True):
        """Compares the values that golden has under the prefix, as one vector or each by its name.

        Weights go together, because Adam's first update of a gradient near its eps of 1e-8 says nothing: one recorded
        gradient is 2.7e-8, and the last bits of a matmul move its weight by a tenth of the learning rate.
        """
        recorded = [name for name in values if prefix + name in golden]
        for names in [recorded] if together else [[name] for name in recorded]:
            if names:
                ours = self.torch.cat([values[name].detach().flatten() for name in names])
                theirs = self.torch.cat([golden[prefix + name].flatten() for name in names])
                title = prefix + ("*" if together else names[0])
                self.relative[title] = ((ours - theirs).norm() / theirs.norm()).item()
                self.largest[title] = (ours - theirs).abs().max().item()


def install(torch, trainer, golden):
    """Starts the adapter from the recorded A; B is zero."""
    with torch.no_grad():
        for name, weight in trainer.weights.items():
            if ".lora_A." in name:
                weight.copy_(golden[f"init.{name}"])
            else:
                weight.zero_()


def main():
    args = parse_args()
    # Some thread pools are sized when torch is first imported, so the imports wait for the arguments.
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    if args.goldens:
        # MKL's exp differs between instruction sets in the last bit, which the sinusoid of a timestep near 1000 turns
        # into 2e-6 of a gradient norm. The recording machine took this one.
        os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "SSE4_2")
    import diffusers
    import peft
    import torch
    torch.set_num_threads(args.threads)

    def load_pipe():
        return diffusers.FluxPipeline.from_pretrained(args.model, torch_dtype=torch.float32)

    if args.goldens:
        torch.use_deterministic_algorithms(True)
        worst = replay(torch, load_pipe, args)
        if not worst < GOLDEN_TOLERANCE:
            sys.exit(f"worst relative difference {worst:.2e}; at most {GOLDEN_TOLERANCE:.0e} was expected")
        return
    pipe = load_pipe()
    sample = Sample(torch, pipe, args)
    trainer = Trainer(torch, pipe, args)
    about = {"peer": "diffusers+peft", "diffusers": diffusers.__version__, "peft": peft.__version__,
             "torch": torch.__version__, "dtype": "float32", "threads": torch.get_num_threads(), "phase": args.phase,
             "timesteps": [round(t, 4) for t in sample.timesteps.tolist()], "rank": args.rank, "alpha": args.alpha,
             "checkpoint": args.checkpoint, "fused": args.fused}
    (serve if args.serve else repeat)(trainer, sample, about, args)


if __name__ == "__main__":
    main()

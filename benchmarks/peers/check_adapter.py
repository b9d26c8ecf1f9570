#!/usr/bin/env python3
"""Loads a Slow-LoRA and a Fast-LoRA file into Python diffusers and writes what the transformer then predicts.

    check_adapter.py MODEL slow.safetensors fast.safetensors OUT.safetensors

OUT holds the inputs (in.latents, in.embeds, in.pooled, in.sigma, and in.guidance where the model takes it) and the
velocities of every sigma without an adapter and with each (base.velocity, slow.velocity, fast.velocity), float32; its
header names versions, prompt, seed and the SHA-256 of both files. A test of the library compares its own velocities.

Ends with an error where diffusers leaves a tensor of a file out, changes one, or applies another scale than the
file's alpha / rank, and where a file has no alpha: diffusers would then silently apply a scale of 1.
"""
import argparse
import hashlib
import json
import sys
from pathlib import Path

import diffusers
import peft
import torch
import transformers
from diffusers import FluxPipeline
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import save_file

PREFIX = "transformer."


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a FluxPipeline")
    parser.add_argument("slow", type=Path, help="LoRA file of the slow phase, with alpha in its header")
    parser.add_argument("fast", type=Path, help="LoRA file of the fast phase")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--prompt", default="red apple")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.96, 0.5])
    parser.add_argument("--size", type=int, default=64, help="pixels of each side (default: 64)")
    parser.add_argument("--guidance", type=float, default=1.0, help="fed only to a model with guidance_embeds")
    parser.add_argument("--max-text-tokens", type=int, default=32, help="T5 length (default: 32; FLUX.1-dev: 512)")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def header_scale(path, metadata):
    """alpha / rank, which has to stand in the header."""
    fields = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    alpha, rank = fields.get(PREFIX + "lora_alpha"), fields.get(PREFIX + "r")
    if not alpha or not rank:
        sys.exit(f"{path}: no alpha and rank in lora_adapter_metadata, so that diffusers would apply a scale of 1")
    if fields.get(PREFIX + "alpha_pattern") or fields.get(PREFIX + "rank_pattern"):
        sys.exit(f"{path}: alpha or rank differs between modules, which this check does not know")
    return alpha / rank


def load(pipe, path, name):
    """Loads a file as the adapter of that name; sure that all of it arrived, at its own scale."""
    with safe_open(path, "pt") as file:
        scale = header_scale(path, file.metadata() or {})
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)
    loaded = {}
    for module, layer in pipe.transformer.named_modules():
        if isinstance(layer, LoraLayer) and name in layer.lora_A:
            for side in ("lora_A", "lora_B"):
                loaded[f"{PREFIX}{module}.{side}.weight"] = getattr(layer, side)[name].weight
            if layer.scaling[name] != scale:
                sys.exit(f"{path}: diffusers scales {module} by {layer.scaling[name]}; alpha / rank is {scale}")
    if loaded.keys() != tensors.keys():
        sys.exit(f"{path}: left out by diffusers: {sorted(tensors.keys() - loaded.keys())}; "
                 f"made up by it: {sorted(loaded.keys() - tensors.keys())}")
    changed = [key for key, tensor in tensors.items() if not torch.equal(tensor.float(), loaded[key])]
    if changed:
        sys.exit(f"{path}: changed on loading: {sorted(changed)}")
    print(f"{path}: {len(tensors)} tensors in {len(tensors) // 2} modules, scale {scale}")


def make_inputs(pipe, args):
    channels = pipe.transformer.config.in_channels // 4
    height = width = args.size // pipe.vae_scale_factor
    noise = torch.randn(1, channels, height, width, generator=torch.Generator("cpu").manual_seed(args.seed))
    embeds, pooled = pipe.encode_prompt(args.prompt, None, max_sequence_length=args.max_text_tokens)[:2]
    inputs = {"latents": pipe._pack_latents(noise, 1, channels, height, width), "embeds": embeds, "pooled": pooled,
              "sigma": torch.tensor(args.sigmas)}
    if pipe.transformer.config.guidance_embeds:
        inputs["guidance"] = torch.tensor([args.guidance])
    return inputs


def velocities(pipe, inputs):
    """[sigmas, tokens, channels]: one evaluation of batch 1 a sigma."""
    side = round(inputs["latents"].shape[1] ** 0.5)
    ids = {"img_ids": pipe._prepare_latent_image_ids(1, side, side, "cpu", torch.float32),
           "txt_ids": torch.zeros(inputs["embeds"].shape[1], 3)}
    return torch.cat([pipe.transformer(
        hidden_states=inputs["latents"], timestep=sigma.reshape(1), guidance=inputs.get("guidance"),
        encoder_hidden_states=inputs["embeds"], pooled_projections=inputs["pooled"], return_dict=False, **ids)[0]
        for sigma in inputs["sigma"]])


def main():
    args = parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    pipe = FluxPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    inputs = make_inputs(pipe, args)
    base = velocities(pipe, inputs)
    out = {f"in.{name}": tensor for name, tensor in inputs.items()} | {"base.velocity": base}
    metadata = {"prompt": args.prompt, "seed": str(args.seed), "size": str(args.size),
                **{module.__name__: module.__version__ for module in (torch, diffusers, transformers, peft)}}
    for name, path in (("slow", args.slow), ("fast", args.fast)):
        load(pipe, path, name)
        pipe.set_adapters(name)
        velocity = velocities(pipe, inputs)
        change = ((velocity - base).norm() / base.norm()).item()
        if not change > 0:
            sys.exit(f"{path}: changes nothing that the transformer predicts ({change})")
        print(f"{name}: moves the velocity by {change:.4f} of its norm")
        out[f"{name}.velocity"] = velocity
        metadata[f"{name}.sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, args.out, metadata)
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

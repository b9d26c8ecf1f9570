#!/usr/bin/env python3
"""Writes a reference folder for the Java tests (-Dglance.reference=DIR): what diffusers, transformers and PEFT
compute on a FLUX pipeline of small random weights, for sizes, seeds, batches and prompts of your choice.

    make_reference.py OUT --tokenizers-from OLD/flux-tiny-random --seed 5 --size [48,80] --batch 2

OUT gets flux-tiny-random/ (the pipeline), adapters/flux/, goldens/*.safetensors, images/ and manifest.json, which says
of every tensor which call made it; with --tiny-model also glance-tiny/ (a trained model's values, own manifest).
Sizes are [height,width]. "prompt" in the manifest is a string for a batch of one and a list for a larger one.
"""
import argparse
import json
import platform
import shutil
from pathlib import Path

import diffusers
import numpy
import peft
import tokenizers
import torch
import transformers
from diffusers import FluxPipeline

from reference import goldens
from reference.folder import Reference
from reference.pipeline import create_pipeline
from reference.tiny import glance_tiny

FLUX = {"num_layers": 2, "num_single_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2,
        "axes_dims_rope": [4, 14, 14], "guidance_embeds": True, "clip_hidden": 32, "clip_layers": 2, "clip_heads": 2,
        "clip_ff": 64, "clip_legacy_eos": True, "clip_prefix": True, "t5_d_model": 48, "t5_d_kv": 8, "t5_heads": 4,
        "t5_d_ff": 80, "t5_layers": 2, "latent_channels": 16, "vae_channels": [8, 16, 16, 16], "vae_layers": 2,
        "vae_groups": 8, "vae_scaling": 0.3611, "vae_shift": 0.1159, "vae_mid_attention": True, "shard": "700KB",
        "t5_shard": "150KB"}

PROFILE = {"seed": 1000, "size": [64, 64], "batch": 1, "gen_steps": 10, "guidance": 3.5, "fwd_size": [64, 96],
           "fwd_txt": 24, "fwd_timestep": 0.8260643, "glance_size": [64, 64], "lora_rank_flux": 16, "lora_alpha": 64,
           "sched_res": [[64, 64], [256, 256], [512, 512], [768, 1024], [1024, 1024], [1280, 768], [2048, 2048]],
           "sched_steps": [4, 8, 10, 28, 50],
           "glance_res": [[64, 64], [96, 64], [512, 512], [1024, 1024], [1328, 1328], [1664, 928]]}

PROMPTS = [  # 0 is empty, 1 and 2 are encoded together, 3 is over both encoders' limits
    "", "A red fox asleep in fresh snow, soft morning light", "zwölf Äpfel & ½ Birne — „reif“", " ".join(
        f"Line {i} of a very long caption tells of hills, rivers and {i * i} sheep." for i in range(60)),
    "山の上の小さな家、霧の朝。", "🦊❄️ 👨‍👩‍👧 snow", "  tabs\tand\nnewlines\r\n and\u00a0nbsp  ",
    "<|endoftext|> in the middle </s> <pad> <extra_id_3>", "MIXED Case, it's we'll DON'T",
    "3.14159 * (2 + 2) != {x}", " ", "zero\u200bwidth\u00adsoft\ufeffbom e\u0301 ﬃ Ⅻ ｗｉｄｅ"]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; must not exist")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokenizers-from", type=Path, help="random weights, with this pipeline folder's tokenizers")
    source.add_argument("--pipeline", type=Path, help="use a copy of this FluxPipeline folder instead")
    parser.add_argument("--prompts", type=Path, help="JSON list of four or more prompts for the text encoders")
    parser.add_argument("--gen-prompts", nargs="+", help="prompts to generate, repeated or cut to fill the batch",
                        default=["A lighthouse at dusk, oil on canvas", "два кота 🐈 на крыше"])
    parser.add_argument("--picture", type=Path, help="picture for the VAE encoder (default: a drawn one)")
    parser.add_argument("--tiny-model", type=Path, help="trained FluxPipeline folder, for glance-tiny/")
    parser.add_argument("--tiny-prompts", nargs="+", default=["sunflower", "panda"])
    parser.add_argument("--tiny-seed", type=int, default=7, help="of the first prompt; the next ones count up")
    for title, table in (("profile", PROFILE), ("random weights", FLUX)):
        group = parser.add_argument_group(title, "values are JSON")
        for key, value in table.items():
            group.add_argument("--" + key.replace("_", "-"), type=str if isinstance(value, str) else json.loads,
                               default=value, help=f"default: {json.dumps(value)}")
    return parser.parse_args()


def make_profile(args):
    prompts = [args.gen_prompts[i % len(args.gen_prompts)] for i in range(args.batch)]
    profile = {key: getattr(args, key) for key in PROFILE} | {"flux": {key: getattr(args, key) for key in FLUX}}
    return profile | {"alpha_mult": args.lora_alpha / args.lora_rank_flux, "gen_prompt": prompts[0],
                      "gen_prompts": prompts if args.batch > 1 else None}


def main():
    args = parse_args()
    profile = make_profile(args)
    versions = {m.__name__: m.__version__ for m in (torch, diffusers, transformers, peft, tokenizers, numpy)}
    versions["python"] = platform.python_version()
    folder = args.out / "flux-tiny-random"
    args.out.mkdir(parents=True)
    if args.pipeline:
        shutil.copytree(args.pipeline, folder)
    else:
        create_pipeline(folder, profile["flux"], args.tokenizers_from, args.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    pipe = FluxPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if args.pipeline:  # the profile says what the model is, not what the options would have made
        profile["flux"] = {key: value for key, value in pipe.transformer.config.items() if key in FLUX}
    ref = Reference(args.out, profile, versions)
    goldens.flux_text(ref, pipe, json.loads(args.prompts.read_text(encoding="utf-8")) if args.prompts else PROMPTS)
    goldens.flux_scheduler(ref, pipe, profile)
    goldens.flux_generate(ref, pipe, profile)  # before any adapter is on the transformer
    goldens.flux_vae(ref, pipe, profile, args.picture)
    configs = goldens.flux_transformer(ref, pipe, profile)
    goldens.flux_adapters(ref, pipe, profile, configs, folder)
    goldens.glance_schedules(ref, pipe, profile)
    goldens.glance_flux(ref, pipe, profile)
    ref.finish()
    if args.tiny_model:
        glance_tiny(args.out / "glance-tiny", args.tiny_model, args.tiny_prompts, args.tiny_seed, versions)


if __name__ == "__main__":
    main()

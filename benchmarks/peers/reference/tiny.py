"""What diffusers generates with a trained tiny model: the folder glance-tiny/."""
import numpy as np
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from .folder import randn, write_json
from .goldens import GLANCE_STEPS

FIFTY, TEN = np.linspace(1.0, 1 / 50, 50), np.linspace(1.0, 1 / 10, 10)
GUIDED = [("50", 3.5, FIFTY), ("10", 3.5, TEN), ("glance10", 3.5, FIFTY[GLANCE_STEPS])]
PLAIN = [("50_nocfg", 1.0, FIFTY), ("10_nocfg", 1.0, TEN)]
SIZE, TOKENS = 64, 32  # the only ones the model knows


def run(pipe, prompt, seed, cfg, sigmas):
    """One generation, with what goes in and out of the transformer at its first and last step."""
    calls = []
    handle = pipe.transformer.register_forward_hook(
        lambda _, __, given, output: calls.append((given["hidden_states"], output[0])), with_kwargs=True)
    latents = pipe(prompt, negative_prompt="", true_cfg_scale=cfg, height=SIZE, width=SIZE, sigmas=sigmas,
                   num_inference_steps=len(sigmas), max_sequence_length=TOKENS, output_type="latent",
                   generator=torch.Generator("cpu").manual_seed(seed)).images
    handle.remove()
    unpacked = pipe._unpack_latents(latents, SIZE, SIZE, pipe.vae_scale_factor)
    decoded = pipe.vae.decode(unpacked / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor)[0]
    last = -2 if cfg > 1 else -1  # with guidance, calls alternate between prompt and negative prompt
    tensors = {"timesteps": pipe.scheduler.timesteps, "sigmas": pipe.scheduler.sigmas, "latents": latents,
               "image": pipe.image_processor.postprocess(decoded, output_type="pt")[0],
               "v_cond_first": calls[0][1], "v_cond_last": calls[last][1], "x_last": calls[last][0]}
    if cfg > 1:
        tensors |= {"v_uncond_first": calls[1][1], "v_uncond_last": calls[-1][1]}
    return {name: value.contiguous() for name, value in tensors.items()}


def text(pipe, prompt):
    embeds, pooled, _ = pipe.encode_prompt(prompt, max_sequence_length=TOKENS)
    clip, t5 = (tokenizer(prompt, padding="max_length", max_length=length, truncation=True,
                          return_tensors="pt").input_ids.int()
                for tokenizer, length in ((pipe.tokenizer, pipe.tokenizer_max_length), (pipe.tokenizer_2, TOKENS)))
    return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled, "clip_ids": clip, "t5_ids": t5}


def glance_tiny(out, model, prompts, first_seed, versions):
    pipe = FluxPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    out.mkdir()
    save_file(text(pipe, ""), out / "negative.safetensors")
    cases, side = [], SIZE // pipe.vae_scale_factor
    for i, prompt in enumerate(prompts):
        seed, name = first_seed + i, "".join(c if c.isalnum() else "_" for c in prompt)
        shape = 1, pipe.transformer.config.in_channels // 4, side, side
        save_file(text(pipe, prompt) | {"latents": pipe._pack_latents(randn(seed, *shape), *shape)},
                  out / f"{name}.safetensors")
        for label, cfg, sigmas in GUIDED + (PLAIN if i == 0 else []):
            tensors = run(pipe, prompt, seed, cfg, sigmas.tolist())
            save_file(tensors, out / f"{name}_{label}.safetensors")
            cases.append({"file": f"{name}_{label}.safetensors", "prompt": prompt,
                          "prompt_file": f"{name}.safetensors", "steps": len(sigmas),
                          "schedule": label.removesuffix("_nocfg"), "sigmas_argument": sigmas.tolist(),
                          "true_cfg_scale": cfg, "torch_seed": seed, "image_mean": tensors["image"].mean().item(),
                          "latents_std": tensors["latents"].std().item()})
    write_json(out / "manifest.json", {
        "model": "glance-tiny", "dtype": "float32", "device": "cpu", "height": SIZE, "width": SIZE,
        "max_sequence_length": TOKENS, "negative_prompt": "", "versions": versions, "cases": cases})

"""A FluxPipeline folder of small random weights, laid out as published checkpoints are."""
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel

from .folder import write_json


def randomize(module, seed):
    """Weights that keep activations near 1 and leave no bias at 0 and no norm at 1, so that a forgotten one shows."""
    generator = torch.Generator("cpu").manual_seed(seed)
    kinds = {f"{name}.weight": kind for name, kind in module.named_modules()}
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("relative_attention_bias.weight"):
                noise *= 0.8
            elif isinstance(kinds.get(name), torch.nn.Embedding):
                # T5 has no position table and normalises at once; CLIP adds two tables.
                noise *= 1.0 if name.startswith(("shared", "encoder.embed")) else 0.5
            elif weight.ndim > 1:
                noise *= weight[0].numel() ** -0.5
            else:
                noise = 0.05 * noise if name.endswith("bias") else 1 + 0.1 * noise
            # A full-scale last convolution would clip most pixels and hide errors.
            weight.copy_(noise * (0.3 if name == "decoder.conv_out.weight" else 1))
    return module.eval()


def random_transformer(flux, seed):
    return randomize(FluxTransformer2DModel(
        in_channels=4 * flux["latent_channels"], num_layers=flux["num_layers"],
        num_single_layers=flux["num_single_layers"], attention_head_dim=flux["attention_head_dim"],
        num_attention_heads=flux["num_attention_heads"], axes_dims_rope=tuple(flux["axes_dims_rope"]),
        joint_attention_dim=flux["t5_d_model"], pooled_projection_dim=flux["clip_hidden"],
        guidance_embeds=flux["guidance_embeds"], patch_size=1), seed)


def random_vae(flux, seed):
    blocks = len(flux["vae_channels"])
    return randomize(AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * blocks, up_block_types=["UpDecoderBlock2D"] * blocks,
        block_out_channels=flux["vae_channels"], layers_per_block=flux["vae_layers"],
        norm_num_groups=flux["vae_groups"], latent_channels=flux["latent_channels"], sample_size=1024,
        scaling_factor=flux["vae_scaling"], shift_factor=flux["vae_shift"], use_quant_conv=False,
        use_post_quant_conv=False, mid_block_add_attention=flux["vae_mid_attention"]), seed)


def random_clip(flux, tokenizer, seed):
    # eos_token_id 2 is what FLUX.1-dev's config says and makes the pooling take the largest id's position.
    return randomize(CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=flux["clip_hidden"], intermediate_size=flux["clip_ff"],
        num_hidden_layers=flux["clip_layers"], num_attention_heads=flux["clip_heads"],
        projection_dim=flux["clip_hidden"], bos_token_id=0, pad_token_id=1,
        eos_token_id=2 if flux["clip_legacy_eos"] else tokenizer.eos_token_id)), seed)


def random_t5(flux, tokenizer, seed):
    # As in the published T5, the table has 28 rows more than the tokenizer has tokens.
    return randomize(T5EncoderModel(T5Config(
        vocab_size=len(tokenizer) + 28, d_model=flux["t5_d_model"], d_kv=flux["t5_d_kv"], d_ff=flux["t5_d_ff"],
        num_layers=flux["t5_layers"], num_heads=flux["t5_heads"], feed_forward_proj="gated-gelu")), seed)


def create_pipeline(out, flux, tokenizers, seed):
    """Writes a FluxPipeline folder of random weights; the tokenizer folders are copied from another pipeline."""
    for folder in ("tokenizer", "tokenizer_2"):
        shutil.copytree(Path(tokenizers) / folder, out / folder)
    clip = random_clip(flux, CLIPTokenizer.from_pretrained(out / "tokenizer"), seed + 1)
    t5 = random_t5(flux, AutoTokenizer.from_pretrained(out / "tokenizer_2"), seed + 2)
    transformer, vae = random_transformer(flux, seed + 3), random_vae(flux, seed + 4)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    transformer.save_pretrained(out / "transformer", max_shard_size=flux["shard"])
    t5.save_pretrained(out / "text_encoder_2", max_shard_size=flux["t5_shard"])
    vae.save_pretrained(out / "vae")
    scheduler.save_pretrained(out / "scheduler")
    clip.save_pretrained(out / "text_encoder")
    if flux["clip_prefix"]:
        # transformers 5 drops "text_model." from the names; the published checkpoints have it.
        path = out / "text_encoder" / "model.safetensors"
        save_file({"text_model." + k: v for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    FluxPipeline(scheduler, vae, clip, None, t5, None, transformer).save_config(out)
    index = json.loads((out / "model_index.json").read_text())
    index = {k: v for k, v in index.items() if k not in ("image_encoder", "feature_extractor")}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "T5TokenizerFast"]}
    write_json(out / "model_index.json", dict(sorted(index.items())))

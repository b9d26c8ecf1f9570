"""PEFT adapters, and files of them under the names met in the wild."""
import torch
from diffusers import FluxPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from .folder import randn

LORA_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]


def add_adapter(transformer, name, profile, seed):
    """A PEFT adapter; PEFT starts B at zero, so B is drawn too."""
    rank = profile["lora_rank_flux"]
    config = LoraConfig(r=rank, lora_alpha=profile["lora_alpha"], init_lora_weights="gaussian",
                        target_modules=LORA_TARGETS)
    torch.manual_seed(seed)
    transformer.add_adapter(config, adapter_name=name)
    generator = torch.Generator("cpu").manual_seed(seed + 1)
    for key, weight in transformer.named_parameters():
        if key.endswith(f"lora_B.{name}.weight"):
            weight.data = 0.02 * torch.randn(weight.shape, generator=generator)
    return config


def deltas(weights, scale):
    """Module -> lora_B @ lora_A * scale, of a PEFT state dict."""
    return {key.removesuffix(".lora_A.weight"): weights[key.replace("lora_A", "lora_B")] @ down * scale
            for key, down in weights.items() if key.endswith(".lora_A.weight")}


def write_adapters(folder, transformer, configs, profile):
    """Writes the slow adapter under every naming, the fast one under one; returns the deltas they stand for and
    a note on each file."""
    folder.mkdir(parents=True)
    slow = {k: v.clone() for k, v in get_peft_model_state_dict(transformer, adapter_name="slow").items()}
    alpha, scale = float(profile["lora_alpha"]), profile["lora_alpha"] / profile["lora_rank_flux"]
    fast = get_peft_model_state_dict(transformer, adapter_name="fast")
    expected = {"slow": deltas(slow, scale), "fast": deltas(fast, scale)}
    note = {}

    def save(name, tensors, made_by):
        save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / name, metadata={"format": "pt"})
        note[name] = made_by

    for name in ("slow", "fast"):
        FluxPipeline.save_lora_weights(
            folder, transformer_lora_layers=get_peft_model_state_dict(transformer, adapter_name=name),
            # PEFT keeps the targets as a set, whose order would change from run to run.
            transformer_lora_adapter_metadata=configs[name].to_dict() | {"target_modules": LORA_TARGETS},
            weight_name=f"{name}.metadata.safetensors")
        note[f"{name}.metadata.safetensors"] = "alpha in the header's lora_adapter_metadata -> scale alpha/r"
    FluxPipeline.save_lora_weights(folder, transformer_lora_layers=convert_state_dict_to_diffusers(dict(slow)),
                                   weight_name="slow.official.safetensors")
    note["slow.official.safetensors"] = "names end in .lora.down/.lora.up, no alpha -> scale 1"

    named = {f"transformer.{k}": v for k, v in slow.items()}
    alphas = {k.replace("lora_A.weight", "alpha"): torch.tensor(alpha) for k in named if "lora_A" in k}
    block0 = {k: v for k, v in named.items() if "_blocks.0." in k}
    save("slow.plain_block0.safetensors", block0, "lora_A/lora_B, no alpha -> scale 1; blocks 0 only")
    save("slow.alpha.safetensors", named | alphas, "lora_A/lora_B and one .alpha per module -> scale alpha/r")
    save("slow.alpha_bf16.safetensors", {k: v.bfloat16() for k, v in named.items()} | alphas,
         "as alpha, weights stored in bfloat16")
    save("slow.premultiplied_block0.safetensors", {k: v * scale if "lora_B" in k else v for k, v in block0.items()},
         "lora_B already times alpha/r, no alpha; blocks 0 only")
    save("slow.lora_transformer_block0.safetensors", underscored(block0, alpha),
         "lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight and .alpha")
    double = {}
    for block in range(profile["flux"]["num_layers"]):
        double |= fused_double_block(slow, block, alpha)
    first = fused_double_block(slow, 0, alpha)
    save("slow.kohya_double_blocks.safetensors", kohya(double),
         "kohya names, double blocks only, fused qkv with block-diagonal up (rank 3r, alpha 3*alpha)")
    save("slow.comfyui_double_block0.safetensors", {f"diffusion_model.{k}": v for k, v in first.items()},
         "ComfyUI names, double block 0 only")
    if profile["flux"]["num_single_layers"]:
        width = slow["single_transformer_blocks.0.attn.to_q.lora_A.weight"].shape[1]
        save("slow.kohya_block0.safetensors", kohya(first | fused_single_block(slow, alpha, 4 * width)),
             "kohya names, double and single block 0; linear1 = q,k,v,mlp (rank 4r, alpha 4*alpha, zero mlp rows)")
    dense, expected["kohya_dense_qkv"] = dense_qkv(slow, profile)
    save("slow.kohya_dense_qkv.safetensors", dense, "kohya names, fused qkv, one shared down and a dense up")
    return expected, note


def underscored(weights, alpha):
    out = {}
    for key, value in weights.items():
        module, part = key.rsplit(".lora_", 1)
        module = "lora_" + module.replace(".", "_")
        out[f"{module}.{'lora_down' if part[0] == 'A' else 'lora_up'}.weight"] = value
        out[f"{module}.alpha"] = torch.tensor(alpha)
    return out


def fused(name, weights, modules, alpha, extra=0):
    """One pair for several linears that share an input: stacked downs, block-diagonal ups, `extra` zero rows."""
    downs = [weights[f"{m}.lora_A.weight"] for m in modules]
    up = torch.block_diag(*[weights[f"{m}.lora_B.weight"] for m in modules])
    if extra:
        rank = len(downs[0])
        downs, up = downs + [torch.zeros_like(downs[0])], torch.nn.functional.pad(up, (0, rank, 0, extra))
    ratio = len(torch.cat(downs)) // len(downs[0])
    return {f"{name}.lora_down.weight": torch.cat(downs), f"{name}.lora_up.weight": up,
            f"{name}.alpha": torch.tensor(alpha * ratio)}


def fused_double_block(weights, block, alpha):
    source, target = f"transformer_blocks.{block}.attn", f"double_blocks.{block}.img_attn"
    return (fused(f"{target}.qkv", weights, [f"{source}.to_{x}" for x in "qkv"], alpha)
            | fused(f"{target}.proj", weights, [f"{source}.to_out.0"], alpha))


def fused_single_block(weights, alpha, mlp):
    source = "single_transformer_blocks.0.attn"
    return fused("single_blocks.0.linear1", weights, [f"{source}.to_{x}" for x in "qkv"], alpha, mlp)


def kohya(weights):
    out = {}
    for key, value in weights.items():
        ending = ".alpha" if key.endswith(".alpha") else ".lora_" + key.rsplit(".lora_", 1)[1]
        out["lora_unet_" + key.removesuffix(ending).replace(".", "_") + ending] = value
    return out


def dense_qkv(slow, profile):
    """Deltas of their own: one down shared by q, k and v, which no separate LoRA pairs could be told from."""
    rank, alpha, seed = profile["lora_rank_flux"], float(profile["lora_alpha"]), profile["seed"]
    width = slow["transformer_blocks.0.attn.to_q.lora_A.weight"].shape[1]
    tensors, expected = {}, {}
    for block in range(profile["flux"]["num_layers"]):
        down, up = randn(seed + 500 + block, rank, width) / rank, 0.02 * randn(seed + 520 + block, 3 * width, rank)
        name = f"lora_unet_double_blocks_{block}_img_attn_qkv"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up,
                    f"{name}.alpha": torch.tensor(alpha)}
        for part, piece in zip("qkv", up.chunk(3)):
            expected[f"transformer_blocks.{block}.attn.to_{part}"] = piece @ down * (alpha / rank)
    return tensors, expected


def load_with_diffusers(pipe, path, expected):
    """What diffusers makes of an adapter file, against the deltas it stands for."""
    try:
        pipe.load_lora_weights(str(path), adapter_name="check")
    except Exception as error:
        return {"loads": False, "error": f"{type(error).__name__}: {error}"[:300]}
    found = {name: layer.get_delta_weight("check") for name, layer in pipe.transformer.named_modules()
             if "check" in getattr(layer, "scaling", {}) and hasattr(layer, "get_delta_weight")}
    pipe.unload_lora_weights()
    found = {name: delta for name, delta in found.items() if delta.abs().max() > 0}
    shared = found.keys() & expected.keys()
    ratios = [(found[m].norm() / expected[m].norm()).item() for m in shared]
    return {"loads": True, "modules_with_effect": len(found), "modules_in_reference": len(expected),
            "missing": sorted(expected.keys() - found.keys()), "extra": sorted(found.keys() - expected.keys()),
            "max_abs_error": max((found[m] - expected[m]).abs().max().item() for m in shared) if shared else None,
            "norm_ratio_min_max": [round(min(ratios), 6), round(max(ratios), 6)] if shared else None}

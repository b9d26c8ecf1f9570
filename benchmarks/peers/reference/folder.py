"""The reference folder being written, and what every part of it needs: seeded noise and module hooks."""
import hashlib
import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file


class Reference:
    """The folder being written: golden files, and the manifest that describes every tensor in them."""

    def __init__(self, out, profile, versions):
        self.out = Path(out)
        self.manifest = {"profile": profile, "versions": versions,
                         "dtype": "float32 computation on CPU, deterministic algorithms",
                         "adapters": {}, "glance_findings": {}, "files": {}}

    def write(self, name, tensors, **entry):
        """tensors: name -> (tensor, the call that made it)."""
        path = f"goldens/{name}.safetensors"
        (self.out / "goldens").mkdir(parents=True, exist_ok=True)
        save_file({key: value.detach().clone().contiguous() for key, (value, _) in tensors.items()}, self.out / path)
        described = {key: describe(value, call) for key, (value, call) in tensors.items()}
        self.manifest["files"][path] = {**entry, "tensors": described}

    def save_picture(self, name, rgb):
        (self.out / "images").mkdir(exist_ok=True)
        Image.fromarray(rgb.numpy()).save(self.out / "images" / name)

    def finish(self):
        write_json(self.out / "manifest.json", self.manifest)
        files = sorted(p for p in self.out.rglob("*") if p.is_file() and p.name != "sha256.json"
                       and p.relative_to(self.out).parts[0] != "glance-tiny")
        write_json(self.out / "sha256.json", {
            str(p.relative_to(self.out)): {"bytes": p.stat().st_size,
                                           "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in files})


def describe(tensor, call):
    described = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), "call": call}
    if tensor.is_floating_point() and tensor.numel() > 1:
        described |= {"mean": round(tensor.mean().item(), 7), "std": round(tensor.std().item(), 7),
                      "absmax": round(tensor.abs().max().item(), 7)}
    return described


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def record(module, sites, prefix, sink, call):
    """Hooks that put the outputs of named submodules into sink; a tuple becomes .out0, .out1, ..."""
    def hook(name, output):
        parts = {f"{name}.out{i}": x for i, x in enumerate(output)} if isinstance(output, tuple) else {name: output}
        for key, value in parts.items():  # setdefault: FLUX calls time_proj again for the guidance
            sink.setdefault(f"{prefix}.{key}", (value, call.format(key)))
    return [module.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: hook(name, output))
            for name in sites]

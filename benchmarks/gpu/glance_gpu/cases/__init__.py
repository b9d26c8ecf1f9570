"""What is measured, one file an operation."""
import torch

from ..shapes import Scale, is_asked
from . import (flow_step, gated_residual, lora_linear, lora_linear_backward, mixed_phase, modulated_norm,
               qk_norm_rope)
from .base import Case

MODULES = {"lora_linear": lora_linear, "mixed_phase": mixed_phase, "flow_step": flow_step,
           "modulated_norm": modulated_norm, "qk_norm_rope": qk_norm_rope, "gated_residual": gated_residual,
           "lora_linear_backward": lora_linear_backward}


def all_cases(scale: Scale, types: tuple[torch.dtype, ...], only: tuple[str, ...] = ()) -> list[Case]:
    """In the order in which they are missed least: what time does not suffice for is at the end."""
    found = {name: module.cases(scale, types) for name, module in MODULES.items() if not only or name in only}
    linears = found.pop("lora_linear", [])
    asked = [case for case in linears if is_asked(case.facts)]
    return asked + [case for cases in found.values() for case in cases] + [c for c in linears if c not in asked]

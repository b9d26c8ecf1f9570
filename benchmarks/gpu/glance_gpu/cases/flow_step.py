"""flow_step beside the chain of PyTorch operations that it replaces."""
import ctypes

import torch

from .. import abi
from ..shapes import Scale
from ..tensors import DTYPES, pointer, stride
from .base import GLANCE, Case, Contender, Context, Cost, Tensors, once

CHAIN = "PyTorch chain"
COLUMNS = 64
MODES = {abi.CFG_NONE: "no CFG", abi.CFG_PLAIN: "CFG", abi.CFG_RESCALED: "CFG rescaled"}
SIGMA, SIGMA_NEXT, CFG_SCALE = 0.75, 0.7, 4.0


class FlowTensors:
    """Latents in f32, velocities in dtype, and the new latents' copy in bf16."""

    def __init__(self, context: Context, rows: int, mode: int, dtype: torch.dtype):
        source = context.source(dtype)
        self.mode = mode
        self.latents = source.normal(rows, COLUMNS, dtype=torch.float32)
        self.v_pos = source.normal(rows, COLUMNS)
        self.v_neg = None if mode == abi.CFG_NONE else source.normal(rows, COLUMNS)
        self.copy = source.empty(rows, COLUMNS, dtype=torch.bfloat16)


class FlowCall:
    """glance_flow_step, in place."""

    def __init__(self, context: Context, tensors: FlowTensors, schedule: torch.Tensor | None = None):
        self._context = context
        self.tensors = tensors
        self._schedule = schedule
        t = tensors
        self._args = abi.FlowStepArgs(
            struct_size=ctypes.sizeof(abi.FlowStepArgs), latents=pointer(t.latents), v_pos=pointer(t.v_pos),
            v_neg=pointer(t.v_neg), latents_bf16=pointer(t.copy), rows=t.latents.shape[0], columns=COLUMNS,
            latents_stride=stride(t.latents), v_pos_stride=stride(t.v_pos), v_neg_stride=COLUMNS,
            latents_bf16_stride=stride(t.copy), latents_dtype=abi.F32, velocity_dtype=DTYPES[t.v_pos.dtype],
            cfg_mode=t.mode, rounding=abi.ROUND_ONCE, cfg_scale=CFG_SCALE, sigma=SIGMA, sigma_next=SIGMA_NEXT,
            device=context.device.abi_device, device_index=context.device.index, schedule=pointer(schedule))

    def __call__(self) -> None:
        self._context.library.run("flow_step", self._args, self._context.device.stream())


def chain(t: FlowTensors, wide: torch.dtype | None = None) -> Tensors:
    """The new latents and their copy; wide: everything in that type, as a reference."""
    latents = t.latents if wide is None else t.latents.to(wide)
    v = t.v_pos if wide is None else t.v_pos.to(wide)
    if t.v_neg is not None:
        negative = t.v_neg if wide is None else t.v_neg.to(wide)
        combined = negative + CFG_SCALE * (v - negative)
        if t.mode == abi.CFG_RESCALED:
            size = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
            combined = combined * (size / torch.linalg.vector_norm(combined, dim=-1, keepdim=True))
        v = combined
    new = latents + (SIGMA_NEXT - SIGMA) * v
    return new, new.to(torch.bfloat16) if wide is None else new


def contenders(context: Context, rows: int, mode: int, dtype: torch.dtype, copies: int) -> list[Contender]:
    sets = [FlowTensors(context, rows, mode, dtype) for _ in range(copies)]
    calls = [FlowCall(context, tensors) for tensors in sets]
    first = sets[0]
    before = first.latents.clone()
    expected = once(lambda: chain(first, torch.float64))
    # Made now: the calls change the latents.
    expected()

    def glance_result() -> Tensors:
        first.latents.copy_(before)
        first.copy.fill_(float("nan"))
        calls[0]()
        results = (first.latents.clone(), first.copy.clone())
        first.latents.copy_(before)
        return results

    chains = [lambda t=tensors: chain(t) for tensors in sets]
    # The chain rounds its velocity after each operation.
    return [Contender(CHAIN, chains, chains[0], expected, as_exact_as=torch.bfloat16),
            Contender(GLANCE, calls, glance_result, expected)]


def case_of(rows: int, mode: int, dtype: torch.dtype) -> Case:
    velocities = 1 if mode == abi.CFG_NONE else 2
    elements = rows * COLUMNS
    size = torch.empty((), dtype=dtype).element_size()
    cost = Cost(elements * (3 + 3 * (velocities - 1)), elements * (2 * 4 + velocities * size + 2))
    return Case("flow_step", f"{rows} x {COLUMNS} {MODES[mode]}", dtype, cost, CHAIN, True, cost.bytes,
                lambda context, copies: contenders(context, rows, mode, dtype, copies),
                facts={"latents_bytes": 4 * elements, "count_kernels": True})


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(rows, mode, types[0]) for rows in scale.latents for mode in MODES]

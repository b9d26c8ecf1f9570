"""modulated_norm, with and without the down-projection of the linears behind it, beside PyTorch's operations."""
import ctypes

import torch
import torch.nn.functional as F

from .. import abi
from ..lora import AdapterTensors, LoraHandles, LoraTensors, reference_dtype
from ..shapes import Scale
from ..tensors import DTYPES, pointer, stride
from .base import GLANCE, Case, Contender, Context, Cost, Tensors, into, once

CHAIN = "PyTorch operations"
EPSILON = 1e-6


class NormTensors:
    """x, scale and shift of one sample, and, with a rank, the adapter of three linears behind it."""

    def __init__(self, context: Context, rows: int, width: int, r: int, dtype: torch.dtype):
        source = context.source(dtype)
        self.x = source.normal(rows, width)
        self.scale = source.normal(1, width, deviation=0.2)
        self.shift = source.normal(1, width, deviation=0.2)
        self.y = source.empty(rows, width)
        self.down = source.normal(r, width, deviation=width**-0.5) if r > 0 else None
        self.h = source.empty(rows, r) if r > 0 else None
        self.adapter_scale = 0.75

    def outputs(self) -> list[torch.Tensor]:
        return [self.y] if self.h is None else [self.y, self.h]


class NormCall:
    """glance_modulated_norm."""

    def __init__(self, context: Context, tensors: NormTensors):
        self._context = context
        self.tensors = t = tensors
        rows, width = t.x.shape
        args = abi.ModulatedNormArgs(
            struct_size=ctypes.sizeof(abi.ModulatedNormArgs), x=pointer(t.x), y=pointer(t.y), scale=pointer(t.scale),
            shift=pointer(t.shift), rows=rows, columns=width, x_stride=stride(t.x), y_stride=stride(t.y),
            scale_stride=stride(t.scale), shift_stride=stride(t.shift), rows_per_group=rows, epsilon=EPSILON,
            norm=abi.NORM_LAYER, dtype=DTYPES[t.x.dtype], device=context.device.abi_device,
            device_index=context.device.index)
        if t.h is not None and t.down is not None:
            adapters = LoraTensors(t.x, [], [AdapterTensors(t.down, [], t.adapter_scale)], [(0, rows, 0)])
            handles = LoraHandles(context.library, context.device, adapters)
            table = handles.table(adapters)
            # What args points to.
            self._kept = (handles, table)
            args.adapters = table
            args.h = pointer(t.h)
            args.h_stride = stride(t.h)
        self._args = args

    def __call__(self) -> None:
        self._context.library.run("modulated_norm", self._args, self._context.device.stream())


def chain(t: NormTensors, wide: torch.dtype | None = None) -> Tensors:
    """As a framework does it, or, in a wide type, as a reference."""
    dtype = wide or t.x.dtype
    y = F.layer_norm(t.x.to(dtype), (t.x.shape[1],), eps=EPSILON)
    y = y * (1 + t.scale.to(dtype)) + t.shift.to(dtype)
    if t.down is None:
        return [y]
    return [y, F.linear(y.to(t.x.dtype).to(dtype), t.down.to(dtype)) * t.adapter_scale]


def contenders(context: Context, rows: int, width: int, r: int, dtype: torch.dtype, copies: int) -> list[Contender]:
    sets = [NormTensors(context, rows, width, r, dtype) for _ in range(copies)]
    calls = [NormCall(context, tensors) for tensors in sets]
    expected = once(lambda: chain(sets[0], reference_dtype(dtype)))
    chains = [lambda t=tensors: chain(t) for tensors in sets]
    return [Contender(CHAIN, chains, chains[0], expected),
            Contender(GLANCE, calls, into(sets[0].outputs(), calls[0]), expected)]


def case_of(rows: int, width: int, r: int, dtype: torch.dtype) -> Case:
    element = torch.empty((), dtype=dtype).element_size()
    cost = Cost(rows * width * (8 + 2 * r), element * (2 * rows * width + 2 * width + r * (rows + width)))
    with_h = f" with h, R = {r}" if r > 0 else ""
    return Case("modulated_norm", f"{rows} x {width}{with_h}", dtype, cost, CHAIN, True, cost.bytes,
                lambda context, copies: contenders(context, rows, width, r, dtype, copies),
                facts={"r": r})


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(rows, scale.width, r, types[0]) for rows in scale.rows for r in (0, 16, 48, 96)]

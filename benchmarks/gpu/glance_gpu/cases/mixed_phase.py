"""A batch whose requests are in different phases, beside the same batch in one phase."""
import dataclasses
import functools

import torch

from ..lora import LoraCall, LoraHandles, LoraTensors, random_adapter, reference
from ..shapes import LinearShape, Scale
from .base import Case, Contender, Context, into, once
from .lora_linear import cost_of, tensors_of

ONE = "one adapter"
MIXED = "two adapters in turn"
SELECTED = "two adapters, by selection"


def contenders(context: Context, shape: LinearShape, segments: int, dtype: torch.dtype,
               copies: int) -> list[Contender]:
    source = context.source(dtype)
    length = shape.rows // segments
    found: dict[str, list[LoraCall]] = {ONE: [], MIXED: []}
    if context.on_cuda:
        found[SELECTED] = []
    selection = torch.tensor([0, 1], dtype=torch.int32, device=context.device.torch_device)
    firsts: dict[str, LoraTensors] = {}
    for _ in range(copies):
        one = tensors_of(source, shape)
        one.adapters.append(random_adapter(source, shape.k, shape.ns, shape.rank))
        mixed = dataclasses.replace(
            one, segments=[(i * length, (i + 1) * length, i % 2) for i in range(segments)])
        handles = LoraHandles(context.library, context.device, one)
        found[ONE].append(LoraCall(context.library, context.device, one, handles, context.matmul))
        found[MIXED].append(LoraCall(context.library, context.device, mixed, handles, context.matmul))
        if context.on_cuda:
            found[SELECTED].append(
                LoraCall(context.library, context.device, mixed, handles, context.matmul, selection=selection))
        firsts = firsts or {ONE: one, MIXED: mixed, SELECTED: mixed}
    return [Contender(name, calls, into(firsts[name].outputs(), calls[0]),
                      once(functools.partial(reference, firsts[name])))
            for name, calls in found.items()]


def case_of(rows: int, segments: int, width: int, dtype: torch.dtype) -> Case:
    shape = LinearShape(rows, width, (width,), 16)
    cost = cost_of(shape, torch.empty((), dtype=dtype).element_size())
    return Case("mixed phases", f"{shape.name}, {segments} segments", dtype, cost, ONE, False, cost.bytes,
                lambda context, copies: contenders(context, shape, segments, dtype, copies),
                MIXED, {"segment_rows": rows // segments})


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(rows, segments, scale.width, types[0]) for rows, segments in scale.mixed]

"""lora_linear beside cuBLAS without an adapter, the PEFT sequence, and two GEMMs of which the second has beta = 1."""
from collections.abc import Callable

import torch

from .. import abi
from ..lora import (LinearTensors, LoraCall, LoraHandles, LoraTensors, down_projection, peft_linear, plain_linear,
                    random_adapter, reference, two_gemms)
from ..shapes import LinearShape, Scale
from ..tensors import Source
from .base import GLANCE, Case, Contender, Context, Cost, Tensors, into, once

CUBLAS = "cuBLAS, no adapter"
PEFT = "PEFT sequence"
TWO_GEMMS = "two GEMMs, beta = 1"
NO_ADAPTER = "glance, no adapter"


def tensors_of(source: Source, shape: LinearShape) -> LoraTensors:
    linears = []
    for n in shape.ns:
        linear = LinearTensors(source.normal(n, shape.k, deviation=shape.k**-0.5), source.normal(n),
                               source.empty(shape.rows, n), shape.epilogue)
        if shape.epilogue == abi.EPILOGUE_GATED_RESIDUAL:
            linear.gate = source.normal(1, n)
            linear.rows_per_gate = shape.rows
            linear.residual = source.normal(shape.rows, n)
        linears.append(linear)
    adapter = random_adapter(source, shape.k, shape.ns, shape.rank)
    return LoraTensors(source.normal(shape.rows, shape.k), linears, [adapter], [(0, shape.rows, 0)])


# Of the wgmma matmul's output tiles. What suits a shape is an estimate in lora_tiles_wgmma.cu; these show it.
TILE_COLUMNS = (128, 192, 256)


def cost_of(shape: LinearShape, element: int) -> Cost:
    n, r = sum(shape.ns), shape.rank * len(shape.ns)
    residual = shape.rows * n if shape.epilogue == abi.EPILOGUE_GATED_RESIDUAL else 0
    operations = 2 * shape.rows * (shape.k * n + shape.k * r + n * shape.rank)
    elements = shape.rows * (shape.k + n) + shape.k * (n + r) + n * (shape.rank + 1) + residual
    return Cost(operations, element * elements)


def contenders(context: Context, shape: LinearShape, dtype: torch.dtype, copies: int) -> list[Contender]:
    source = context.source(dtype)
    sets = [tensors_of(source, shape) for _ in range(copies)]
    handles = [LoraHandles(context.library, context.device, tensors) for tensors in sets]
    h = [down_projection(tensors) for tensors in sets]
    fused = once(lambda: reference(sets[0]))
    from_h = once(lambda: reference(sets[0], h=h[0]))
    plain = once(lambda: reference(sets[0], with_adapters=False))

    def glance(name: str, expected: Callable[[], Tensors], optional: bool = False, **options: object) -> Contender:
        given = options.pop("h", None)
        options.setdefault("matmul", context.matmul)
        calls = [LoraCall(context.library, context.device, tensors, handles[i],
                          h=h[i] if given else None, **options)  # type: ignore[arg-type]
                 for i, tensors in enumerate(sets)]
        return Contender(name, calls, into(sets[0].outputs(), calls[0]), expected, optional=optional)

    def torch_way(name: str, linear: Callable[[LoraTensors, int], torch.Tensor],
                  expected: Callable[[], Tensors]) -> Contender:
        calls = [lambda t=tensors: [linear(t, g) for g in range(len(t.linears))] for tensors in sets]
        return Contender(name, calls, calls[0], expected)

    found = [torch_way(CUBLAS, plain_linear, plain), glance(GLANCE, fused)]
    found += [glance(f"glance {name}", fused, optional=True, matmul=matmul)
              for name, matmul in context.matmuls.items() if matmul != context.matmul]
    if abi.MATMUL_WGMMA in context.matmuls.values():
        found += [glance(f"glance wgmma {columns}", fused, optional=True, matmul=abi.MATMUL_WGMMA, tile_columns=columns)
                  for columns in TILE_COLUMNS]
    found += [glance("glance, h given", from_h, h=True), glance(NO_ADAPTER, plain, with_adapters=False),
              torch_way(PEFT, peft_linear, fused), torch_way(TWO_GEMMS, two_gemms, fused)]
    return found


def case_of(shape: LinearShape, dtype: torch.dtype) -> Case:
    element = torch.empty((), dtype=dtype).element_size()
    cost = cost_of(shape, element)
    facts = {"rows": shape.rows, "k": shape.k, "n": sum(shape.ns), "rank": shape.rank, "epilogue": shape.epilogue,
             "linears": len(shape.ns)}
    return Case("lora_linear", shape.name, dtype, cost, CUBLAS, False, cost.bytes,
                lambda context, copies: contenders(context, shape, dtype, copies), facts=facts)


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    """The first type has all shapes, the others a few."""
    found = [case_of(shape, types[0]) for shape in scale.sweep + scale.others]
    return found + [case_of(shape, dtype) for dtype in types[1:] for shape in scale.in_other_types]

"""gated_residual beside PyTorch's addcmul."""
import ctypes

import torch

from .. import abi
from ..lora import reference_dtype
from ..shapes import Scale
from ..tensors import DTYPES, pointer, stride
from .base import GLANCE, Case, Contender, Context, Cost, into, once

ADDCMUL = "PyTorch addcmul"


class GatedCall:
    """glance_gated_residual."""

    def __init__(self, context: Context, rows: int, width: int, dtype: torch.dtype):
        source = context.source(dtype)
        self._context = context
        self.residual = source.normal(rows, width)
        self.update = source.normal(rows, width)
        self.gate = source.normal(1, width)
        self.y = source.empty(rows, width)
        self._args = abi.GatedResidualArgs(
            struct_size=ctypes.sizeof(abi.GatedResidualArgs), residual=pointer(self.residual),
            update=pointer(self.update), gate=pointer(self.gate), y=pointer(self.y), rows=rows, columns=width,
            residual_stride=stride(self.residual), update_stride=stride(self.update), gate_stride=stride(self.gate),
            rows_per_gate=rows, y_stride=stride(self.y), dtype=DTYPES[dtype], device=context.device.abi_device,
            device_index=context.device.index)

    def __call__(self) -> None:
        self._context.library.run("gated_residual", self._args, self._context.device.stream())

    def in_torch(self, dtype: torch.dtype) -> list[torch.Tensor]:
        return [torch.addcmul(self.residual.to(dtype), self.gate.to(dtype), self.update.to(dtype))]


def contenders(context: Context, rows: int, width: int, dtype: torch.dtype, copies: int) -> list[Contender]:
    calls = [GatedCall(context, rows, width, dtype) for _ in range(copies)]
    expected = once(lambda: calls[0].in_torch(reference_dtype(dtype)))
    peers = [lambda c=call: c.in_torch(dtype) for call in calls]
    return [Contender(ADDCMUL, peers, peers[0], expected),
            Contender(GLANCE, calls, into([calls[0].y], calls[0]), expected)]


def case_of(rows: int, width: int, dtype: torch.dtype) -> Case:
    element = torch.empty((), dtype=dtype).element_size()
    cost = Cost(2 * rows * width, element * (3 * rows * width + width))
    return Case("gated_residual", f"{rows} x {width}", dtype, cost, ADDCMUL, True, cost.bytes,
                lambda context, copies: contenders(context, rows, width, dtype, copies))


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(rows, scale.width, types[0]) for rows in scale.rows]

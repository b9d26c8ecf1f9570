"""lora_linear_backward beside the products that autograd runs for a PEFT linear."""
import ctypes

import torch

from .. import abi
from ..lora import reference_dtype
from ..shapes import Scale
from ..tensors import DTYPES, MatrixHandle, pointer, stride
from .base import GLANCE, Case, Contender, Context, Cost, Tensors, into, once

PRODUCTS = "PyTorch products"


class BackwardCall:
    """glance_lora_linear_backward: dx, dA and dB."""

    def __init__(self, context: Context, rows: int, width: int, rank: int, dtype: torch.dtype):
        source = context.source(dtype)
        self._context = context
        self.scale = 0.75
        self.x = source.normal(rows, width)
        self.dy = source.normal(rows, width)
        self.weight = source.normal(width, width, deviation=width**-0.5)
        self.down = source.normal(rank, width, deviation=width**-0.5)
        self.up = source.normal(width, rank, deviation=width**-0.5)
        self.outputs = [source.empty(rows, width), source.empty(rank, width, dtype=torch.float32),
                        source.empty(width, rank, dtype=torch.float32)]
        self._transposed = MatrixHandle(context.library, context.device, self.weight.T)
        dx, d_down, d_up = self.outputs
        self._args = abi.LoraLinearBackwardArgs(
            struct_size=ctypes.sizeof(abi.LoraLinearBackwardArgs), x=pointer(self.x), dy=pointer(self.dy),
            down=pointer(self.down), up=pointer(self.up), weight_transposed=self._transposed.handle, dx=pointer(dx),
            d_down=pointer(d_down), d_up=pointer(d_up), rows=rows, in_features=width, out_features=width, rank=rank,
            x_stride=stride(self.x), dy_stride=stride(self.dy), down_stride=stride(self.down),
            up_stride=stride(self.up), dx_stride=stride(dx), d_down_stride=stride(d_down), d_up_stride=stride(d_up),
            scale=self.scale, dtype=DTYPES[dtype], device=context.device.abi_device,
            device_index=context.device.index)
        self._workspace: torch.Tensor | None = None

    def __call__(self) -> None:
        library, device = self._context.library, self._context.device
        if self._workspace is None:
            size = library.workspace_bytes("lora_linear_backward", self._args)
            self._workspace = device.workspace(size)
            if size > 0:
                self._args.workspace = self._workspace.data_ptr()
                self._args.workspace_bytes = size
        library.run("lora_linear_backward", self._args, device.stream())

    def in_torch(self, dtype: torch.dtype) -> Tensors:
        x, dy, weight = self.x.to(dtype), self.dy.to(dtype), self.weight.to(dtype)
        down, up = self.down.to(dtype), self.up.to(dtype)
        g = self.scale * (dy @ up)
        return [dy @ weight + g @ down, g.T @ x, self.scale * (dy.T @ (x @ down.T))]


def contenders(context: Context, rows: int, width: int, rank: int, dtype: torch.dtype,
               copies: int) -> list[Contender]:
    calls = [BackwardCall(context, rows, width, rank, dtype) for _ in range(copies)]
    expected = once(lambda: calls[0].in_torch(reference_dtype(dtype)))
    peers = [lambda c=call: c.in_torch(dtype) for call in calls]
    # g and x A^T are rounded to dtype on the way to the f32 gradients.
    return [Contender(PRODUCTS, peers, peers[0], expected, as_exact_as=dtype),
            Contender(GLANCE, calls, into(calls[0].outputs, calls[0]), expected, as_exact_as=dtype)]


def case_of(rows: int, width: int, rank: int, dtype: torch.dtype) -> Case:
    element = torch.empty((), dtype=dtype).element_size()
    cost = Cost(2 * rows * width * (width + 5 * rank), element * (3 * rows * width + width * width))
    return Case("lora_linear_backward", f"{rows} x {width} -> {width}, r = {rank}", dtype, cost, PRODUCTS, False,
                cost.bytes, lambda context, copies: contenders(context, rows, width, rank, dtype, copies))


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(scale.rows[0], scale.width, rank, types[0]) for rank in (16, 64)]

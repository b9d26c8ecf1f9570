"""qk_norm_rope on a joined qkv projection, beside PyTorch's operations."""
import ctypes

import torch

from .. import abi
from ..lora import reference_dtype
from ..shapes import Scale
from ..tensors import DTYPES, pointer
from .base import GLANCE, Case, Contender, Context, Cost, Tensors, into, once

CHAIN = "PyTorch operations"
DIM = 128
EPSILON = 1e-6


class RopeCall:
    """glance_qk_norm_rope, one sample."""

    def __init__(self, context: Context, tokens: int, heads: int, dtype: torch.dtype):
        source = context.source(dtype)
        self._context = context
        self.tokens, self.heads = tokens, heads
        self.qkv = source.normal(tokens, 3 * heads * DIM)
        self.weights = [source.normal(DIM, deviation=0.2) + 1 for _ in range(2)]
        angles = source.normal(tokens, DIM // 2, dtype=torch.float32)
        self.rotation = torch.stack((angles.cos(), angles.sin()), -1).contiguous()
        self.outputs = [source.empty(heads, tokens, DIM) for _ in range(3)]
        width = heads * DIM
        parts = [self.qkv[:, i * width:] for i in range(3)]
        self._args = abi.QkNormRopeArgs(
            struct_size=ctypes.sizeof(abi.QkNormRopeArgs), q=pointer(parts[0]), k=pointer(parts[1]),
            v=pointer(parts[2]), q_weight=pointer(self.weights[0]), k_weight=pointer(self.weights[1]),
            rotation=pointer(self.rotation), q_out=pointer(self.outputs[0]), k_out=pointer(self.outputs[1]),
            v_out=pointer(self.outputs[2]), batch=1, tokens=tokens, heads=heads, dim=DIM,
            in_batch_stride=tokens * 3 * width, in_token_stride=3 * width, out_batch_stride=tokens * width,
            out_head_stride=tokens * DIM, out_token_stride=DIM, epsilon=EPSILON, dtype=DTYPES[dtype],
            out_dtype=DTYPES[dtype], device=context.device.abi_device, device_index=context.device.index)

    def __call__(self) -> None:
        self._context.library.run("qk_norm_rope", self._args, self._context.device.stream())

    def in_torch(self, dtype: torch.dtype) -> Tensors:
        """As diffusers does it: normalised in f32 and rounded, rotated in f32 and rounded."""
        q, k, v = self.qkv.to(dtype).view(self.tokens, 3, self.heads, DIM).permute(1, 2, 0, 3)
        return [self._rotated(q, self.weights[0]), self._rotated(k, self.weights[1]), v.contiguous()]

    def _rotated(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        squares = x.to(wide).pow(2).mean(-1, keepdim=True)
        n = (x * torch.rsqrt(squares + EPSILON)).to(x.dtype) * weight.to(x.dtype)
        even, odd = n.to(wide).unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = self.rotation.to(wide).unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


def contenders(context: Context, tokens: int, heads: int, dtype: torch.dtype, copies: int) -> list[Contender]:
    calls = [RopeCall(context, tokens, heads, dtype) for _ in range(copies)]
    expected = once(lambda: calls[0].in_torch(reference_dtype(dtype)))
    peers = [lambda c=call: c.in_torch(dtype) for call in calls]
    return [Contender(CHAIN, peers, peers[0], expected),
            Contender(GLANCE, calls, into(calls[0].outputs, calls[0]), expected)]


def case_of(tokens: int, heads: int, dtype: torch.dtype) -> Case:
    elements = tokens * heads * DIM
    size = torch.empty((), dtype=dtype).element_size()
    cost = Cost(elements * 2 * 8, 6 * elements * size + tokens * DIM * 4)
    return Case("qk_norm_rope", f"{tokens} x {heads} x {DIM}", dtype, cost, CHAIN, True, cost.bytes,
                lambda context, copies: contenders(context, tokens, heads, dtype, copies))


def cases(scale: Scale, types: tuple[torch.dtype, ...]) -> list[Case]:
    return [case_of(rows, scale.heads, types[0]) for rows in scale.rows]

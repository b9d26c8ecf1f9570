"""PyTorch tensors as the C ABI sees them."""
import ctypes
import math
from collections.abc import Sequence

import torch

from . import abi
from .device import Device

DTYPES = {torch.float32: abi.F32, torch.bfloat16: abi.BF16, torch.float16: abi.F16}
NAMES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
# What a result may differ from the reference: ||out - ref|| / ||ref||.
LIMITS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def stride(tensor: torch.Tensor) -> int:
    """The distance between rows; elements of a row must lie side by side."""
    assert tensor.stride(-1) == 1 or tensor.shape[-1] == 1
    return tensor.stride(-2)


def poison(tensors: Sequence[torch.Tensor]) -> None:
    for tensor in tensors:
        tensor.fill_(math.nan)


class Source:
    """Random tensors of one device and type; the seed of the whole run decides them."""

    def __init__(self, device: Device, dtype: torch.dtype):
        self.device = device
        self.dtype = dtype

    def normal(self, *shape: int, deviation: float = 1.0, dtype: torch.dtype | None = None) -> torch.Tensor:
        values = torch.randn(*shape, device=self.device.torch_device, dtype=torch.float32)
        return values.mul_(deviation).to(dtype or self.dtype)

    def empty(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.empty(*shape, device=self.device.torch_device, dtype=dtype or self.dtype)


class Spaced:
    """A matrix with an offset before it and a gap after each row, which no operation may touch."""

    def __init__(self, source: Source, rows: int, columns: int, gap: int, offset: int):
        self.memory = source.empty(offset + rows * (columns + gap))
        self.memory.fill_(math.nan)
        self.tensor = self.memory[offset:].as_strided((rows, columns), (columns + gap, 1))
        self._outside = torch.ones_like(self.memory, dtype=torch.bool)
        self._outside[offset:].as_strided((rows, columns), (columns + gap, 1)).fill_(False)

    def filled(self, deviation: float = 1.0) -> "Spaced":
        self.tensor.normal_(std=deviation)
        return self

    def gaps_untouched(self) -> bool:
        return bool(self.memory[self._outside].isnan().all())


class MatrixHandle:
    """A glance_matrix over a tensor, which it keeps alive."""

    def __init__(self, library: abi.Library, device: Device, tensor: torch.Tensor):
        self._library = library
        self.tensor = tensor
        args = abi.MatrixArgs(
            struct_size=ctypes.sizeof(abi.MatrixArgs), data=tensor.data_ptr(), rows=tensor.shape[0],
            columns=tensor.shape[1], row_stride=tensor.stride(0), column_stride=tensor.stride(1),
            dtype=DTYPES[tensor.dtype], device=device.abi_device, device_index=device.index)
        self.handle = library.create_matrix(args)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._library.destroy_matrix(self.handle)

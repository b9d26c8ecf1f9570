"""Calls of glance_lora_linear, and the same in PyTorch."""
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from . import abi
from .device import Device
from .tensors import DTYPES, MatrixHandle, Source, pointer, stride


@dataclass
class LinearTensors:
    """One linear: y = epilogue(x weight^T + bias + LoRA)."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    y: torch.Tensor
    epilogue: int = abi.EPILOGUE_NONE
    gate: torch.Tensor | None = None
    rows_per_gate: int = 1
    residual: torch.Tensor | None = None


@dataclass
class AdapterTensors:
    """The down-projections of all linears, one below the other, and each linear's up-projection."""

    down: torch.Tensor
    # None: the adapter leaves this linear alone.
    ups: list[torch.Tensor | None]
    scale: float
    # Where each up-projection's columns of h begin.
    firsts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = 0
        for up in self.ups if not self.firsts else []:
            self.firsts.append(first)
            first += 0 if up is None else up.shape[1]


# Rows begin to end - 1 and their adapter, or -1.
SegmentRange = tuple[int, int, int]


@dataclass
class LoraTensors:
    """All of a call."""

    x: torch.Tensor
    linears: list[LinearTensors]
    adapters: list[AdapterTensors]
    segments: list[SegmentRange]

    @property
    def rows(self) -> int:
        return self.x.shape[0]

    def outputs(self) -> list[torch.Tensor]:
        return [linear.y for linear in self.linears]


def random_adapter(source: Source, k: int, ns: Sequence[int], rank: int) -> AdapterTensors:
    down = source.normal(rank * len(ns), k, deviation=k**-0.5)
    ups: list[torch.Tensor | None] = [source.normal(n, rank, deviation=rank**-0.5) for n in ns]
    return AdapterTensors(down, ups, scale=0.75)


class LoraHandles:
    """The matrices of a call, which calls with other options may share."""

    def __init__(self, library: abi.Library, device: Device, tensors: LoraTensors):
        self.weights = [MatrixHandle(library, device, linear.weight) for linear in tensors.linears]
        self.downs = [MatrixHandle(library, device, adapter.down) for adapter in tensors.adapters]
        self.ups = [[None if up is None else MatrixHandle(library, device, up) for up in adapter.ups]
                    for adapter in tensors.adapters]

    def table(self, tensors: LoraTensors, selection: torch.Tensor | None = None) -> abi.AdapterTable:
        """The adapters and segments as the C ABI has them."""
        adapters = (abi.Adapter * max(len(self.downs), 1))()
        for i, (adapter, down) in enumerate(zip(tensors.adapters, self.downs)):
            adapters[i] = abi.Adapter(down.handle, adapter.scale, 0)
        segments = (abi.Segment * max(len(tensors.segments), 1))()
        for i, (begin, end, index) in enumerate(tensors.segments):
            segments[i] = abi.Segment(begin, end, index, 0)
        return abi.AdapterTable(adapters, segments, len(self.downs), len(tensors.segments), pointer(selection))


class LoraCall:
    """glance_lora_linear on these tensors; every call of it runs it once."""

    def __init__(self, library: abi.Library, device: Device, tensors: LoraTensors, handles: LoraHandles | None = None,
                 matmul: int = abi.MATMUL_AUTO, with_adapters: bool = True, h: torch.Tensor | None = None,
                 selection: torch.Tensor | None = None, tile_columns: int = 0):
        self._library = library
        self._device = device
        self.tensors = tensors
        self._handles = handles or LoraHandles(library, device, tensors)
        args = abi.LoraLinearArgs(
            struct_size=ctypes.sizeof(abi.LoraLinearArgs), x=tensors.x.data_ptr(), rows=tensors.rows,
            x_stride=stride(tensors.x), linears=self._linears(), linear_count=len(tensors.linears),
            dtype=DTYPES[tensors.x.dtype], device=device.abi_device, device_index=device.index, matmul=matmul,
            tile_columns=tile_columns)
        table = self._handles.table(tensors, selection)
        ups = self._ups()
        if with_adapters and tensors.adapters:
            args.ups = ups
            args.adapters = table
        if h is not None:
            args.h = h.data_ptr()
            args.h_stride = stride(h)
        self._args = args
        # What args points to.
        self._kept = (table, ups, h, selection)
        self._workspace: torch.Tensor | None = None

    def _linears(self) -> ctypes.Array:
        linears = (abi.Linear * len(self.tensors.linears))()
        for i, linear in enumerate(self.tensors.linears):
            linears[i] = abi.Linear(
                weight=self._handles.weights[i].handle, bias=pointer(linear.bias), y=pointer(linear.y),
                y_stride=stride(linear.y), epilogue=linear.epilogue)
            if linear.gate is not None and linear.residual is not None:
                linears[i].gate = pointer(linear.gate)
                linears[i].gate_stride = stride(linear.gate)
                linears[i].rows_per_gate = linear.rows_per_gate
                linears[i].residual = pointer(linear.residual)
                linears[i].residual_stride = stride(linear.residual)
        return linears

    def _ups(self) -> ctypes.Array:
        count = len(self.tensors.linears)
        ups = (abi.Up * max(count * len(self.tensors.adapters), 1))()
        for a, adapter in enumerate(self.tensors.adapters):
            for g, handle in enumerate(self._handles.ups[a]):
                ups[a * count + g] = abi.Up(None if handle is None else handle.handle, adapter.firsts[g])
        return ups

    def __call__(self) -> None:
        if self._workspace is None:
            size = self._library.workspace_bytes("lora_linear", self._args)
            self._workspace = self._device.workspace(size)
            if size > 0:
                self._args.workspace = self._workspace.data_ptr()
                self._args.workspace_bytes = size
        self._library.run("lora_linear", self._args, self._device.stream())


def epilogue_of(linear: LinearTensors, s: torch.Tensor) -> torch.Tensor:
    """In s's own type, operation by operation."""
    if linear.epilogue == abi.EPILOGUE_GELU_TANH:
        return F.gelu(s, approximate="tanh")
    if linear.epilogue == abi.EPILOGUE_GATED_RESIDUAL:
        assert linear.gate is not None and linear.residual is not None
        gate = linear.gate.repeat_interleave(linear.rows_per_gate, 0)[: s.shape[0]]
        return linear.residual.to(s.dtype) + gate.to(s.dtype) * s
    return s


def reference_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64, or for the narrow types float32, which is a thousand times as exact as they are."""
    return torch.float64 if dtype == torch.float32 else torch.float32


def reference(tensors: LoraTensors, h: torch.Tensor | None = None, with_adapters: bool = True) -> list[torch.Tensor]:
    """What the outputs should be, in reference_dtype; h, if given, is not computed from x."""
    wide = reference_dtype(tensors.x.dtype)
    x = tensors.x.to(wide)
    outputs = []
    for g, linear in enumerate(tensors.linears):
        s = x @ linear.weight.to(wide).T
        if linear.bias is not None:
            s += linear.bias.to(wide)
        for begin, end, index in tensors.segments if with_adapters else []:
            adapter = tensors.adapters[max(index, 0)]
            up = adapter.ups[g]
            if index < 0 or up is None or begin == end:
                continue
            first, rank = adapter.firsts[g], up.shape[1]
            if h is None:
                rows = adapter.scale * (x[begin:end] @ adapter.down[first:first + rank].to(wide).T)
                rows = rows.to(tensors.x.dtype)
            else:
                rows = h[begin:end, first:first + rank]
            s[begin:end] += rows.to(wide) @ up.to(wide).T
        outputs.append(epilogue_of(linear, s))
    return outputs


def down_projection(tensors: LoraTensors) -> torch.Tensor:
    """h of a call whose rows all have adapter 0, as modulated_norm would leave it."""
    wide = reference_dtype(tensors.x.dtype)
    adapter = tensors.adapters[0]
    return (adapter.scale * (tensors.x.to(wide) @ adapter.down.to(wide).T)).to(tensors.x.dtype)


def peft_linear(tensors: LoraTensors, g: int) -> torch.Tensor:
    """What PEFT runs for one linear with adapter 0, and then the epilogue."""
    linear, adapter = tensors.linears[g], tensors.adapters[0]
    up = adapter.ups[g]
    assert up is not None
    first = adapter.firsts[g]
    down = adapter.down[first:first + up.shape[1]]
    result = F.linear(tensors.x, linear.weight, linear.bias)
    result = result + F.linear(F.linear(tensors.x, down), up) * adapter.scale
    return epilogue_of(linear, result)


def two_gemms(tensors: LoraTensors, g: int) -> torch.Tensor:
    """The base linear, then its up-projection added to it by a second GEMM with beta = 1."""
    linear, adapter = tensors.linears[g], tensors.adapters[0]
    up = adapter.ups[g]
    assert up is not None
    first = adapter.firsts[g]
    h = F.linear(tensors.x, adapter.down[first:first + up.shape[1]])
    y = F.linear(tensors.x, linear.weight, linear.bias)
    torch.addmm(y, h, up.T, beta=1, alpha=adapter.scale, out=y)
    return epilogue_of(linear, y)


def plain_linear(tensors: LoraTensors, g: int) -> torch.Tensor:
    """The linear without an adapter, by cuBLAS, and then the epilogue."""
    linear = tensors.linears[g]
    return epilogue_of(linear, F.linear(tensors.x, linear.weight, linear.bias))

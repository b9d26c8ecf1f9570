"""What a case is made of."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .. import abi
from ..device import Call, Device
from ..tensors import NAMES, Source, poison

Tensors = Sequence[torch.Tensor]

GLANCE = "glance"


MATMULS = {"auto": abi.MATMUL_AUTO, "mma": abi.MATMUL_MMA, "wgmma": abi.MATMUL_WGMMA, "cuBLASLt": abi.MATMUL_CUBLASLT}


@dataclass(frozen=True)
class Context:
    """What all cases run with."""

    library: abi.Library
    device: Device
    # Which of lora_linear's matmuls is called "glance".
    matmul: int = abi.MATMUL_AUTO

    @property
    def on_cuda(self) -> bool:
        return self.device.abi_device == abi.CUDA

    @property
    def matmuls(self) -> dict[str, int]:
        """All of them, or, if one was asked for, that alone."""
        chosen = {name: matmul for name, matmul in MATMULS.items() if matmul == self.matmul}
        return MATMULS if self.matmul == abi.MATMUL_AUTO else chosen

    def source(self, dtype: torch.dtype) -> Source:
        return Source(self.device, dtype)


@dataclass
class Contender:
    """One way of doing the work."""

    name: str
    # The same work on each set of tensors.
    calls: Sequence[Call]
    # Does it once, on outputs poisoned before, and gives them.
    result: Callable[[], Tensors]
    reference: Callable[[], Tensors]
    # What its result is as exact as, if that is not its own type.
    as_exact_as: torch.dtype | None = None
    # Whether it may refuse this device or build.
    optional: bool = False


@dataclass(frozen=True)
class Cost:
    """Of one call: floating-point operations, and bytes that must be read or written."""

    operations: float
    bytes: float


@dataclass
class Case:
    """One operation on one shape, by several contenders."""

    operation: str
    name: str
    dtype: torch.dtype
    cost: Cost
    # What each contender's time is divided by.
    baseline: str
    # Whether the machine's copy rate limits it, or else its matrix product.
    memory_bound: bool
    # The bytes of a set of tensors.
    set_bytes: float
    # Makes the contenders over this many sets of tensors.
    prepare: Callable[[Context, int], list[Contender]]
    # Whose share of the machine's ceiling is told.
    ours: str = GLANCE
    # For the targets.
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.operation} {self.name} {NAMES[self.dtype]}"


def into(outputs: Tensors, call: Call) -> Callable[[], Tensors]:
    """The result of a call that writes these outputs."""
    def result() -> Tensors:
        poison(outputs)
        call()
        return outputs
    return result


def once(make: Callable[[], Tensors]) -> Callable[[], Tensors]:
    """Makes it at the first call only."""
    kept: list[Tensors] = []

    def get() -> Tensors:
        if not kept:
            kept.append(make())
        return kept[0]
    return get

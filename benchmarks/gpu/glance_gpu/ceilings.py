"""What the machine can do at best: its copy rate, and its rate of matrix products on random data."""
from dataclasses import dataclass

import torch

from .cases.base import Case, Context
from .shapes import Scale
from .tensors import NAMES
from .timing import Effort, alternating


@dataclass(frozen=True)
class Ceilings:
    # Bytes read and written, a second.
    copy: float
    # Operations a second, by type.
    matmul: dict[str, float]

    def share(self, case: Case, seconds: float) -> float | None:
        """How much of what limits it the case reaches; None in a type whose ceiling was not measured."""
        if case.memory_bound:
            return case.cost.bytes / seconds / self.copy
        rate = self.matmul.get(NAMES[case.dtype])
        return None if rate is None else case.cost.operations / seconds / rate


def measure(context: Context, scale: Scale, types: tuple[torch.dtype, ...], effort: Effort) -> Ceilings:
    source = context.source(torch.float32)
    memory = [source.normal(scale.ceiling_copy_bytes // 4) for _ in range(2)]
    copy = alternating(context.device, {"copy": [lambda: memory[0].copy_(memory[1])]}, effort)["copy"]
    matmul = {}
    for dtype in types:
        size = scale.ceiling_size if dtype != torch.float32 else scale.ceiling_size // 2
        matmul[NAMES[dtype]] = 2 * size**3 / _matmul_seconds(context, size, dtype, effort)
    return Ceilings(2 * scale.ceiling_copy_bytes / min(copy.rounds), matmul)


def _matmul_seconds(context: Context, size: int, dtype: torch.dtype, effort: Effort) -> float:
    source = context.source(dtype)
    a, b, out = source.normal(size, size), source.normal(size, size), source.empty(size, size)
    timed = alternating(context.device, {"matmul": [lambda: torch.mm(a, b.T, out=out)]}, effort)["matmul"]
    return min(timed.rounds)

"""Results against a reference, before anything is timed."""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .tensors import LIMITS


@dataclass(frozen=True)
class Checked:
    """How far a contender's result is from the reference."""

    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


def relative_error(result: torch.Tensor, reference: torch.Tensor) -> float:
    """||out - ref|| / ||ref||; infinite where a result is not finite."""
    if result.shape != reference.shape:
        return math.inf
    difference = result.to(reference.dtype) - reference
    size = torch.linalg.vector_norm(reference)
    error = float(torch.linalg.vector_norm(difference) / size.clamp_min(1e-30))
    return error if math.isfinite(error) else math.inf


def check(results: Sequence[torch.Tensor], references: Sequence[torch.Tensor],
          dtype: torch.dtype | None = None) -> Checked:
    """The worst of several outputs; dtype is what they are as exact as, if it is not their own."""
    if len(results) != len(references):
        return Checked(math.inf, 0)
    errors = [relative_error(result, reference) for result, reference in zip(results, references)]
    limits = [LIMITS[dtype or result.dtype] for result in results]
    worst = max(range(len(errors)), key=lambda i: errors[i] / limits[i])
    return Checked(errors[worst], limits[worst])

"""Contenders take turns in one process, on the same tensors; a figure is the median of the rounds."""
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .device import Call, Device


@dataclass(frozen=True)
class Effort:
    """How long each contender is timed."""

    rounds: int
    # Calls are repeated until a batch takes this long, but no more than most_calls times.
    batch_seconds: float
    most_calls: int


@dataclass
class Timed:
    """Seconds for one call, in each round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """Of two medians, with the quartiles of the rounds' own ratios."""

    value: float
    low: float
    high: float


def ratio(above: Timed, below: Timed) -> Ratio:
    each = sorted(a / b for a, b in zip(above.rounds, below.rounds))
    low, high = (each[0], each[-1]) if len(each) < 4 else (each[len(each) // 4], each[-1 - len(each) // 4])
    return Ratio(above.median / below.median, low, high)


def repeated(calls: Sequence[Call], seconds: float, effort: Effort) -> list[Call]:
    """The calls, one after the other and over again: whole turns of all of them."""
    turns = max(1, round(effort.batch_seconds / max(seconds, 1e-9) / len(calls)))
    most = max(1, effort.most_calls // len(calls))
    return list(calls) * min(turns, most)


def alternating(device: Device, contenders: Mapping[str, Sequence[Call]], effort: Effort) -> dict[str, Timed]:
    """Times all contenders, each round in another order."""
    batches = {name: device.batch(repeated(calls, device.estimate(calls), effort))
               for name, calls in contenders.items()}
    for batch in batches.values():
        batch.run()
    timed = {name: Timed() for name in batches}
    names = list(batches)
    for turn in range(effort.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            timed[name].rounds.append(batches[name].run())
    return timed


def copies_for(device: Device, set_bytes: float, most: int = 32) -> int:
    """How many sets of tensors rotate, so that a call finds nothing of its last turn in a cache."""
    wanted = math.ceil(2 * device.cache_bytes / max(set_bytes, 1)) + 1
    affordable = int(device.free_bytes() * 0.5 / max(set_bytes, 1))
    return max(1, min(most, wanted, affordable))

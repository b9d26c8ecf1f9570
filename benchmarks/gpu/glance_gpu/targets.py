"""What was asked of the kernels, beside what was measured."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .cases import lora_linear, mixed_phase
from .cases.base import GLANCE
from .ceilings import Ceilings
from .correctness import Finding
from .runner import CaseResult
from .shapes import is_asked
from .tensors import LIMITS, NAMES
from .timing import ratio

TARGET_LATENTS_BYTES = 256 << 20


@dataclass
class Target:
    what: str
    asked: float
    at_most: bool
    stretch: float | None = None
    # Each case's label and value.
    values: list[tuple[str, float]] = field(default_factory=list)

    def meets(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound

    @property
    def worst(self) -> tuple[str, float] | None:
        if not self.values:
            return None
        return (max if self.at_most else min)(self.values, key=lambda labelled: labelled[1])

    @property
    def verdict(self) -> str:
        worst = self.worst
        if worst is None:
            return "not measured"
        if self.stretch is not None and self.meets(worst[1], self.stretch):
            return "pass, stretch too"
        return "pass" if self.meets(worst[1], self.asked) else "miss"


def _ratios(results: Iterable[CaseResult], above: str, below: str,
            wanted: Callable[[CaseResult], bool]) -> list[tuple[str, float]]:
    return [(r.case.name, ratio(r.timed[above], r.timed[below]).value)
            for r in results if above in r.timed and below in r.timed and wanted(r)]


def _shares(results: Iterable[CaseResult], ceilings: Ceilings,
            wanted: Callable[[CaseResult], bool]) -> list[tuple[str, float]]:
    found = []
    for r in results:
        if GLANCE in r.timed and wanted(r):
            share = ceilings.share(r.case, r.timed[GLANCE].median)
            if share is not None:
                found.append((r.case.name, share))
    return found


def evaluate(results: list[CaseResult], ceilings: Ceilings, findings: list[Finding]) -> list[Target]:
    def asked(rank: int | None = None, square: bool = False) -> Callable[[CaseResult], bool]:
        def wanted(r: CaseResult) -> bool:
            f = r.case.facts
            return (r.case.operation == "lora_linear" and is_asked(f) and rank in (None, f["rank"])
                    and (not square or f["k"] == f["n"]))
        return wanted

    def flow(r: CaseResult) -> bool:
        return r.case.operation == "flow_step" and r.case.facts["latents_bytes"] >= TARGET_LATENTS_BYTES

    def norm(with_h: bool) -> Callable[[CaseResult], bool]:
        return lambda r: r.case.operation == "modulated_norm" and (r.case.facts["r"] > 0) == with_h

    cublas, one, mixed = lora_linear.CUBLAS, mixed_phase.ONE, mixed_phase.MIXED
    kernels = [(r.case.name, float(r.kernels)) for r in results
               if r.case.operation == "flow_step" and r.kernels is not None]
    targets = [
        Target("fused, down-projection included / cuBLAS bias GEMM, r = 16", 1.05, True, 1.03,
               _ratios(results, GLANCE, cublas, asked(16))),
        Target("the same, r = 64", 1.10, True, 1.06, _ratios(results, GLANCE, cublas, asked(64))),
        Target("GEMM without adapter / cuBLAS", 1.03, True, 1.00,
               _ratios(results, lora_linear.NO_ADAPTER, cublas, asked())),
        Target("PEFT sequence / fused, 3072 -> 3072, r = 16", 1.35, False, None,
               _ratios(results, lora_linear.PEFT, GLANCE, asked(16, square=True))),
        Target("mixed-phase batch (two adapters, 32 segments of whole tiles) / one adapter", 1.03, True, None,
               _ratios(results, mixed, one, lambda r: r.case.facts.get("segment_rows", 1) % 128 == 0)),
        Target("flow_step: kernels launched", 1, True, None, kernels),
        Target("flow_step: share of copy bandwidth, 256 MB of latents", 0.85, False, None,
               _shares(results, ceilings, flow)),
        Target("modulated_norm without h: share of copy bandwidth", 0.80, False, None,
               _shares(results, ceilings, norm(False))),
        Target("modulated_norm with h: share of copy bandwidth", 0.80, False, None,
               _shares(results, ceilings, norm(True))),
    ]
    return targets + _errors(results) + _switches(findings)


def _errors(results: list[CaseResult]) -> list[Target]:
    targets = []
    for dtype, limit in LIMITS.items():
        values = [(f"{r.case.operation} {r.case.name}, {name}", checked.error) for r in results
                  if r.case.dtype == dtype for name, checked in r.checked.items()
                  if name in _ours(r)]
        targets.append(Target(f"error relative to the reference, {NAMES[dtype]}", limit, True, None, values))
    return targets


def _ours(result: CaseResult) -> set[str]:
    peers = {result.case.baseline, lora_linear.PEFT, lora_linear.TWO_GEMMS} - {mixed_phase.ONE}
    return set(result.checked) - peers


def _switches(findings: list[Finding]) -> list[Target]:
    values = [(f.name, 0.0 if f.passed else 1.0) for f in findings if "switches" in f.name]
    return [Target("adapter switches: types in which a result differed", 0, True, None, values)]

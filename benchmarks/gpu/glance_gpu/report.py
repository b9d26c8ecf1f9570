"""The results as Markdown and as JSON."""
import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .ceilings import Ceilings
from .correctness import Finding
from .runner import CaseResult
from .targets import Target
from .tensors import NAMES
from .timing import ratio


@dataclass
class Report:
    command: str
    machine: dict[str, str]
    how_timed: str
    ceilings: Ceilings | None = None
    findings: list[Finding] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    # Cases that there was no time for.
    left_out: list[str] = field(default_factory=list)
    # Whether an error left the device unusable.
    lost: bool = False
    # What was done before: the build, tests, sanitizer.
    notes: str = ""

    @property
    def failures(self) -> list[str]:
        failed = [f"{f.name}: {f.detail}" for f in self.findings if not f.passed]
        failed += [failure for result in self.results for failure in result.failures]
        return failed + ["the device was lost: nothing after that was run"] * self.lost


def markdown(report: Report) -> str:
    parts = [f"# Kernels on a GPU, {datetime.date.today().isoformat()}", "", *_machine(report), ""]
    if report.failures:
        parts += ["## Failed", "", *(f"- {failure}" for failure in report.failures), ""]
    parts += ["## Asked and measured", "", *_targets(report.targets), ""]
    parts += ["## Held", "", *_findings(report.findings), ""]
    for operation in dict.fromkeys(result.case.operation for result in report.results):
        parts += [f"## {operation}", "",
                  *_operation([r for r in report.results if r.case.operation == operation], report.ceilings), ""]
    if report.left_out:
        parts += [f"Left out: {len(report.left_out)} cases, from {report.left_out[0]} on.", ""]
    if report.notes:
        parts += ["## Before it", "", "```", report.notes.rstrip(), "```", ""]
    return "\n".join(parts)


def _machine(report: Report) -> list[str]:
    lines = [f"{name[0].upper()}{name[1:]}: {value}.  " for name, value in report.machine.items()]
    if report.ceilings is not None:
        rates = ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in report.ceilings.matmul.items())
        copy = f"{report.ceilings.copy / 1e9:.4g} GB/s (read and written)"
        lines.append(f"Ceilings: copy {copy}, matrix product {rates}.")
    return lines + ["", f"    {report.command}", "",
                    "Contenders take turns in one process, on the same tensors, which rotate through more memory than "
                    "the caches have; their calls " + report.how_timed + ". A time is the "
                    "median of the rounds, a ratio that of medians, in brackets the quartiles of the rounds' own. "
                    "Results were compared with the reference before anything was timed."]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in [header, *rows]]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def _targets(targets: list[Target]) -> list[str]:
    rows = []
    for t in targets:
        sign = "<=" if t.at_most else ">="
        stretch = "" if t.stretch is None else f" ({sign} {t.stretch:g})"
        worst = "" if t.worst is None else f"{t.worst[1]:.3g} ({t.worst[0]})"
        rows.append([t.what, f"{sign} {t.asked:g}{stretch}", worst, str(len(t.values)), t.verdict])
    return _table(["what", "asked (stretch)", "measured: worst", "cases", "verdict"], rows)


def _findings(findings: list[Finding]) -> list[str]:
    return _table(["what", "held", "detail"], [[f.name, "yes" if f.passed else "NO", f.detail] for f in findings])


def _operation(results: list[CaseResult], ceilings: Ceilings | None) -> list[str]:
    """A line for each case, a column for each contender: microseconds, and the ratio to the baseline."""
    baseline = results[0].case.baseline
    names = list(dict.fromkeys(name for r in results for name in r.timed))
    names = [baseline] * (baseline in names) + [name for name in names if name != baseline]
    rows = []
    for r in results:
        errors = [checked.error for checked in r.checked.values()]
        rows.append([r.case.name, NAMES[r.case.dtype], *(_cell(r, name) for name in names), _rates(r, ceilings),
                     f"{max(errors):.1e}" if errors else ""])
    refused = {f"{name}: {why}" for r in results for name, why in r.refused.items()}
    header = ["shape", "type", *(f"{name}, us" for name in names), f"{results[0].case.ours}: rate, share of ceiling",
              "largest error"]
    return [f"In brackets: time / that of {baseline}.", "", *_table(header, rows),
            *(f"\nRefused: {why}" for why in sorted(refused))]


def _cell(result: CaseResult, name: str) -> str:
    timed = result.timed.get(name)
    if timed is None:
        return "refused" if name in result.refused else "-"
    text = f"{timed.median * 1e6:.1f}"
    base = result.timed.get(result.case.baseline)
    if base is None or name == result.case.baseline:
        return text
    r = ratio(timed, base)
    return f"{text} ({r.value:.3f}, {r.low:.3f}-{r.high:.3f})"


def _rates(result: CaseResult, ceilings: Ceilings | None) -> str:
    case = result.case
    timed = result.timed.get(case.ours)
    if timed is None:
        return "-"
    seconds = timed.median
    rate = (f"{case.cost.bytes / seconds / 1e9:.4g} GB/s" if case.memory_bound
            else f"{case.cost.operations / seconds / 1e12:.3g} TFLOP/s")
    share = None if ceilings is None else ceilings.share(case, seconds)
    return rate if share is None else f"{rate}, {share * 100:.0f} %"


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every round's time included."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": report.command,
        "machine": report.machine,
        "ceilings": None if report.ceilings is None else asdict(report.ceilings),
        "targets": [{**asdict(t), "verdict": t.verdict} for t in report.targets],
        "findings": [asdict(f) for f in report.findings],
        "failures": report.failures,
        "left_out": report.left_out,
        "cases": [{
            "operation": r.case.operation, "name": r.case.name, "dtype": NAMES[r.case.dtype], "facts": r.case.facts,
            "operations": r.case.cost.operations, "bytes": r.case.cost.bytes, "baseline": r.case.baseline,
            "kernels": r.kernels, "refused": r.refused,
            "errors": {name: checked.error for name, checked in r.checked.items()},
            "seconds": {name: timed.rounds for name, timed in r.timed.items()},
        } for r in report.results],
    }


def write(report: Report, folder: Path) -> Path:
    """Writes DATE-gpu-DEVICE.md and .json; the path of the former."""
    folder.mkdir(parents=True, exist_ok=True)
    device = re.sub(r"[^a-z0-9]+", "-", report.machine["device"].split(",")[0].lower()).strip("-")
    path = folder / f"{datetime.date.today().isoformat()}-gpu-{device[:40].strip('-')}.md"
    path.write_text(markdown(report), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(as_json(report), indent=1) + "\n", encoding="utf-8")
    return path

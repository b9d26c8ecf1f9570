"""Runs a case: its results are checked first, and what is right is timed."""
import gc
from dataclasses import dataclass, field

import torch

from . import abi
from .cases.base import GLANCE, Case, Contender, Context
from .check import Checked, check
from .timing import Effort, Timed, alternating, copies_for


@dataclass
class CaseResult:
    case: Case
    checked: dict[str, Checked] = field(default_factory=dict)
    timed: dict[str, Timed] = field(default_factory=dict)
    # Of contenders that this device or build does not have, why.
    refused: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    # That one call of glance launches.
    kernels: int | None = None


def run_case(context: Context, case: Case, effort: Effort | None) -> CaseResult:
    """Without an effort it is only checked."""
    result = CaseResult(case)
    copies = 1 if effort is None else copies_for(context.device, case.set_bytes)
    try:
        contenders = case.prepare(context, copies)
        right = [contender for contender in contenders if _is_right(contender, result)]
        if case.facts.get("count_kernels") and GLANCE in result.checked:
            call = next(contender.calls[0] for contender in contenders if contender.name == GLANCE)
            result.kernels = context.device.kernels(call)
        if effort is not None and right:
            result.timed = alternating(context.device, {c.name: c.calls for c in right}, effort)
    except torch.OutOfMemoryError as error:
        result.failures.append(f"{case.label}: {str(error).splitlines()[0]}")
    except (abi.GlanceError, RuntimeError) as error:
        result.failures.append(f"{case.label}: {error}")
    contenders = right = []
    gc.collect()
    return result


def _is_right(contender: Contender, result: CaseResult) -> bool:
    label = f"{result.case.label}: {contender.name}"
    try:
        checked = check(contender.result(), contender.reference(), contender.as_exact_as)
    except abi.GlanceError as error:
        if contender.optional and error.status == abi.UNSUPPORTED:
            result.refused[contender.name] = error.message
        else:
            result.failures.append(f"{label}: {error}")
        return False
    result.checked[contender.name] = checked
    if not checked.passed:
        result.failures.append(f"{label}: error {checked.error:.2e}, more than {checked.limit:.0e}")
    return checked.passed

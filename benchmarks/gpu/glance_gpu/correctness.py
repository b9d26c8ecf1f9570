"""What must hold on a device beside the values of the measured shapes."""
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch

from . import abi
from .cases import flow_step, gated_residual, lora_linear, lora_linear_backward, modulated_norm, qk_norm_rope
from .cases.base import Context
from .check import check
from .device import Call, captured
from .lora import LinearTensors, LoraCall, LoraTensors, random_adapter, reference
from .runner import run_case
from .shapes import LinearShape
from .tensors import NAMES, Spaced, poison

# By the library's own kernels no bit of a row's result depends on what other rows there are. Which of them AUTO
# takes may.
OF_ROWS_ALONE = ("mma", "wgmma")
# The adapter, and sigma, next sigma and CFG scale, of steps that one graph is replayed for.
REPLAYS = ((0, (1.0, 0.9, 4.0)), (1, (0.9, 0.5, 2.0)), (-1, (0.5, 0.0, 1.0)), (0, (1.0, 0.9, 4.0)))


@dataclass(frozen=True)
class Finding:
    name: str
    passed: bool
    detail: str


def findings(context: Context, types: tuple[torch.dtype, ...], switches: int) -> list[Finding]:
    """All of them, in the order of their cost. switches 0 leaves out what takes many calls or a graph."""
    found = [ragged(context, dtype) for dtype in types]
    found += [spaced(context, dtype, gap, offset) for dtype in types for gap, offset in ((8, 8), (3, 1))]
    found += [rows_alone(context, dtype) for dtype in types]
    if switches > 0:
        found += [switched(context, dtype, switches) for dtype in types]
    if switches > 0 and context.on_cuda:
        found.append(switched_in_graph(context))
    return found


def _guarded(name: str, work: Callable[[], tuple[bool, str]]) -> Finding:
    """An error of the library's or of CUDA's is a finding too."""
    try:
        passed, detail = work()
        return Finding(name, passed, detail)
    except (abi.GlanceError, RuntimeError) as error:
        return Finding(name, False, str(error))


def ragged(context: Context, dtype: torch.dtype) -> Finding:
    """Every operation on sizes that no tile or vector divides."""
    def work() -> tuple[bool, str]:
        cases = [lora_linear.case_of(LinearShape(131, 203, (97, 61), 17), dtype),
                 lora_linear.case_of(LinearShape(257, 96, (129,), 3, abi.EPILOGUE_GELU_TANH), dtype),
                 lora_linear.case_of(LinearShape(3, 2000, (130,), 40, abi.EPILOGUE_GATED_RESIDUAL), dtype),
                 flow_step.case_of(37, abi.CFG_NONE, dtype), flow_step.case_of(37, abi.CFG_PLAIN, dtype),
                 flow_step.case_of(37, abi.CFG_RESCALED, dtype), modulated_norm.case_of(131, 1001, 0, dtype),
                 modulated_norm.case_of(131, 1001, 17, dtype), gated_residual.case_of(131, 1001, dtype),
                 qk_norm_rope.case_of(131, 3, dtype), lora_linear_backward.case_of(131, 203, 17, dtype)]
        failures = [failure for case in cases for failure in run_case(context, case, None).failures]
        return not failures, "; ".join(failures) or f"{len(cases)} shapes"
    return _guarded(f"ragged shapes, {NAMES[dtype]}", work)


def spaced(context: Context, dtype: torch.dtype, gap: int, offset: int) -> Finding:
    """lora_linear on matrices with gaps, with segments of two adapters and of none; nothing else is written."""
    def work() -> tuple[bool, str]:
        tensors, outputs = _spaced_problem(context, dtype, gap, offset)
        expected = reference(tensors)
        failures, refused = [], []
        for name, matmul in context.matmuls.items():
            poison(tensors.outputs())
            try:
                LoraCall(context.library, context.device, tensors, matmul=matmul)()
            except abi.GlanceError as error:
                refused.append(name)
                if error.status != abi.UNSUPPORTED or name in ("auto", "mma"):
                    failures.append(f"{name}: {error.message}")
                continue
            checked = check(tensors.outputs(), expected)
            if not checked.passed:
                failures.append(f"{name}: error {checked.error:.2e}")
            if not all(output.gaps_untouched() for output in outputs):
                failures.append(f"{name}: wrote outside its output")
        return not failures, "; ".join(failures) or ("refused by " + ", ".join(refused) if refused else "all matmuls")
    return _guarded(f"gaps of {gap}, offset {offset}, {NAMES[dtype]}", work)


def _spaced_problem(context: Context, dtype: torch.dtype, gap: int, offset: int) -> tuple[LoraTensors, list[Spaced]]:
    source = context.source(dtype)
    rows, k, ns = 300, 256, (96, 72, 64)

    def matrix(r: int, c: int, deviation: float = 1.0) -> torch.Tensor:
        return Spaced(source, r, c, gap, offset).filled(deviation).tensor

    outputs = [Spaced(source, rows, n, gap, offset) for n in ns]
    linears = [LinearTensors(matrix(n, k, k**-0.5), matrix(1, n)[0], output.tensor, epilogue)
               for n, output, epilogue in zip(ns, outputs, range(3))]
    linears[2].gate, linears[2].rows_per_gate = matrix(2, ns[2]), 150
    linears[2].residual = matrix(rows, ns[2])
    adapters = [random_adapter(source, k, ns, rank) for rank in (17, 5)]
    adapters[1].ups[0] = None
    segments = [(0, 40, 1), (40, 169, 0), (169, 169, 1), (169, 200, -1), (200, 300, 1)]
    return LoraTensors(matrix(rows, k), linears, adapters, segments), outputs


def rows_alone(context: Context, dtype: torch.dtype) -> Finding:
    """The bits of a row's result, computed with the other rows and without them."""
    def work() -> tuple[bool, str]:
        source = context.source(dtype)
        whole = lora_linear.tensors_of(source, LinearShape(300, 256, (192,), 16))
        begin, end = 129, 140
        part = LoraTensors(whole.x[begin:end],
                           [dataclasses.replace(whole.linears[0], y=source.empty(end - begin, 192))],
                           whole.adapters, [(0, end - begin, 0)])
        different, tried = [], []
        for name in OF_ROWS_ALONE:
            if name not in context.matmuls:
                continue
            try:
                for tensors in (whole, part):
                    poison(tensors.outputs())
                    LoraCall(context.library, context.device, tensors, matmul=context.matmuls[name])()
            except abi.GlanceError as error:
                if name == "mma" or error.status != abi.UNSUPPORTED:
                    raise
                continue
            tried.append(name)
            if not torch.equal(whole.linears[0].y[begin:end], part.linears[0].y):
                different.append(name)
        return not different, "; ".join(f"{name}: other bits" for name in different) or ", ".join(tried)
    return _guarded(f"a row's bits do not depend on other rows, {NAMES[dtype]}", work)


def _switching_problem(context: Context, dtype: torch.dtype) -> LoraTensors:
    source = context.source(dtype)
    shape = LinearShape(300, 256, (192,), 16)
    tensors = lora_linear.tensors_of(source, shape)
    tensors.adapters.append(random_adapter(source, shape.k, shape.ns, shape.rank))
    return tensors


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def switched(context: Context, dtype: torch.dtype, switches: int) -> Finding:
    """Adapters in turn; every result has the bits of that adapter's first."""
    def work() -> tuple[bool, str]:
        tensors = _switching_problem(context, dtype)
        y = tensors.linears[0].y
        calls = [LoraCall(context.library, context.device,
                          dataclasses.replace(tensors, segments=[(0, tensors.rows, adapter)]), matmul=context.matmul)
                 for adapter in (0, 1)]
        first = []
        for call in calls:
            poison([y])
            call()
            first.append(_bits(y).clone())
        wrong = torch.zeros((), dtype=torch.int64, device=context.device.torch_device)
        for turn in range(switches):
            poison([y])
            calls[turn % 2]()
            wrong += (_bits(y) != first[turn % 2]).any()
        count = int(wrong)
        same = torch.equal(first[0], first[1])
        return count == 0 and not same, "both adapters give the same" if same else f"{count} differ"
    return _guarded(f"{switches} adapter switches bit-identical, {NAMES[dtype]}", work)


def switched_in_graph(context: Context) -> Finding:
    """A captured step: replayed with another selection and schedule it does what eager calls with them do."""
    def work() -> tuple[bool, str]:
        tensors = _switching_problem(context, torch.bfloat16)
        y = tensors.linears[0].y
        flow = flow_step.FlowTensors(context, 37, abi.CFG_PLAIN, torch.bfloat16)
        latents = flow.latents.clone()
        selection = torch.zeros(2, dtype=torch.int32, device=context.device.torch_device)
        schedule = torch.zeros(3, dtype=torch.float32, device=context.device.torch_device)
        linear = LoraCall(context.library, context.device, tensors, matmul=context.matmul, selection=selection)
        step: list[Call] = [linear, flow_step.FlowCall(context, flow, schedule)]
        wrong = 0
        for call in step:
            call()
        graph = captured(step)
        for adapter, sigmas in REPLAYS:
            selection[0] = adapter
            schedule.copy_(torch.tensor(sigmas))
            wanted = _run_step(step, flow, y, latents)
            poison([y])
            flow.latents.copy_(latents)
            graph.replay()
            eager = LoraCall(context.library, context.device,
                             dataclasses.replace(tensors, segments=[(0, tensors.rows, adapter)]),
                             matmul=context.matmul)
            replayed = y.clone(), flow.latents.clone()
            poison([y])
            eager()
            wrong += not (torch.equal(replayed[0], wanted[0]) and torch.equal(replayed[1], wanted[1])
                          and torch.equal(y, replayed[0]))
        return wrong == 0, f"{wrong} of {len(REPLAYS)} replays differ"
    return _guarded("a captured graph changes its phase without being captured again", work)


def _run_step(step: list[Call], flow: flow_step.FlowTensors, y: torch.Tensor,
              latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    poison([y])
    flow.latents.copy_(latents)
    for call in step:
        call()
    return y.clone(), flow.latents.clone()

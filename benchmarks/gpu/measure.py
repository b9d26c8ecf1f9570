#!/usr/bin/env python3
"""Checks and measures the CUDA kernels beside PyTorch; prints Markdown and writes it, with JSON, to a folder.

run.sh beside it builds the library first. Needs PyTorch and nothing else. --dry-run goes the same way on the
library's CPU backend and tiny shapes: a rehearsal, whose figures mean nothing.
"""
import argparse
import platform
import shlex
import sys
import time
from pathlib import Path

import torch

from glance_gpu import abi, ceilings, correctness, report, shapes, targets
from glance_gpu.cases import MODULES, all_cases
from glance_gpu.cases.base import MATMULS, Context
from glance_gpu.device import CpuDevice, CudaDevice, Device
from glance_gpu.runner import run_case
from glance_gpu.timing import Effort

HERE = Path(__file__).resolve().parent
CUDA_TYPES = (torch.bfloat16, torch.float16, torch.float32)
CPU_TYPES = (torch.bfloat16, torch.float32)
EFFORT = Effort(rounds=11, batch_seconds=0.003, most_calls=200)
QUICK_EFFORT = Effort(rounds=7, batch_seconds=0.002, most_calls=100)
REHEARSAL_EFFORT = Effort(rounds=3, batch_seconds=0.001, most_calls=4)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="libglance_kernels.so")
    parser.add_argument("--out", type=Path, help="where the results are written; benchmarks/results, or target/gpu in "
                        "a rehearsal")
    parser.add_argument("--quick", action="store_true", help="the shapes that were asked about, fewer rounds")
    parser.add_argument("--dry-run", action="store_true", help="rehearse on the CPU")
    parser.add_argument("--check-only", action="store_true",
                        help="only small checks, no figures and no files: for compute-sanitizer")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=(), metavar="NAMES",
                        help="of these operations, separated by commas: " + ", ".join(MODULES))
    parser.add_argument("--matmul", choices=("auto", "mma", "wgmma"), default="auto",
                        help="the matmul that lora_linear is run with")
    parser.add_argument("--budget", type=float, default=240, metavar="SECONDS",
                        help="when no further case is begun; %(default)g")
    parser.add_argument("--device", type=int, default=0, help="the CUDA device's number")
    parser.add_argument("--notes", type=Path, help="a file that is put into the report")
    options = parser.parse_args(arguments)
    if options.out is None:
        options.out = HERE.parents[1] / "target/gpu" if options.dry_run else HERE.parent / "results"
    unknown = set(options.only) - set(MODULES)
    if unknown:
        parser.error(f"--only: no operation {', '.join(sorted(unknown))}")
    return options


def scale_of(options: argparse.Namespace) -> tuple[shapes.Scale, Effort]:
    if options.dry_run:
        return shapes.rehearsal(), REHEARSAL_EFFORT
    return (shapes.quick(), QUICK_EFFORT) if options.quick else (shapes.full(), EFFORT)


def machine_of(context: Context) -> dict[str, str]:
    facts = context.device.facts(context.library)
    cuda = f", CUDA {torch.version.cuda}" if torch.version.cuda else ""
    return facts | {"with": f"PyTorch {torch.__version__}{cuda}, Python {platform.python_version()}, "
                            f"{platform.system()} {platform.release()}"}


def measure(context: Context, options: argparse.Namespace, types: tuple[torch.dtype, ...]) -> report.Report:
    begin = time.monotonic()
    scale, effort = scale_of(options)
    found = report.Report(shlex.join(["measure.py", *sys.argv[1:]]), machine_of(context), context.device.how_timed())
    if options.notes:
        found.notes = options.notes.read_text(encoding="utf-8")
    found.ceilings = ceilings.measure(context, scale, types, effort)
    for case in all_cases(scale, types, options.only):
        if time.monotonic() > begin + options.budget or found.lost:
            found.left_out.append(case.label)
            continue
        result = run_case(context, case, effort)
        found.results.append(result)
        failed = "".join(f"\n          FAILED {failure}" for failure in result.failures)
        print(f"{time.monotonic() - begin:6.1f} s  {case.label}{failed}", file=sys.stderr)
        found.lost = bool(result.failures) and context.device.is_lost()
        if not found.lost:
            context.device.forget()
        # Whatever ends this process later, what is measured so far is kept.
        conclude(found, options.out)
    if not found.lost:
        found.findings = correctness.findings(context, types, scale.switches)
    return found


def conclude(found: report.Report, out: Path) -> Path:
    assert found.ceilings is not None
    found.targets = targets.evaluate(found.results, found.ceilings, found.findings)
    return report.write(found, out)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    torch.manual_seed(20251128)
    library = abi.Library(options.library)
    library.check_layouts()
    device: Device = CpuDevice() if options.dry_run else CudaDevice(options.device)
    if options.dry_run:
        # The library has its own.
        torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    context = Context(library, device, MATMULS[options.matmul])
    types = CPU_TYPES if options.dry_run else CUDA_TYPES
    with torch.no_grad():
        if options.check_only:
            findings = correctness.findings(context, types, switches=0)
            for finding in findings:
                print(f"{'held' if finding.passed else 'FAILED'}: {finding.name} ({finding.detail})")
            return 0 if all(finding.passed for finding in findings) else 1
        found = measure(context, options, types)
    path = conclude(found, options.out)
    print(report.markdown(found))
    print(f"Written: {path} and {path.with_suffix('.json').name}", file=sys.stderr)
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Ratios, targets and the tables, on made-up results."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from glance_gpu import report, shapes, targets  # noqa: E402
from glance_gpu.cases import flow_step, lora_linear, mixed_phase, modulated_norm  # noqa: E402
from glance_gpu.cases.base import GLANCE, Case  # noqa: E402
from glance_gpu.ceilings import Ceilings  # noqa: E402
from glance_gpu.check import Checked, check  # noqa: E402
from glance_gpu.correctness import Finding  # noqa: E402
from glance_gpu.runner import CaseResult  # noqa: E402
from glance_gpu.shapes import LinearShape  # noqa: E402
from glance_gpu.timing import Timed, ratio  # noqa: E402

CEILINGS = Ceilings(copy=4e12, matmul={"bf16": 8e14})


def result(case: Case, seconds: dict[str, float], kernels: int | None = None) -> CaseResult:
    timed = {name: Timed([each, each * 1.01, each * 0.99]) for name, each in seconds.items()}
    return CaseResult(case, {name: Checked(2e-3, 1e-2) for name in seconds}, timed, kernels=kernels)


def linear(k: int, n: int, rank: int, fused: float, plain: float = 1.02, peft: float = 1.4) -> CaseResult:
    case = lora_linear.case_of(LinearShape(shapes.ASKED_ROWS, k, (n,), rank), torch.bfloat16)
    base = 1e-4
    return result(case, {lora_linear.CUBLAS: base, GLANCE: base * fused, lora_linear.NO_ADAPTER: base * plain,
                         lora_linear.PEFT: base * peft})


def some_results() -> list[CaseResult]:
    flow = flow_step.case_of(1 << 20, 0, torch.bfloat16)
    norm = modulated_norm.case_of(4608, 3072, 48, torch.bfloat16)
    return [linear(3072, 3072, 16, 1.02), linear(12288, 3072, 16, 1.04), linear(3072, 3072, 64, 1.2),
            result(mixed_phase.case_of(4096, 32, 3072, torch.bfloat16),
                   {mixed_phase.ONE: 1e-4, mixed_phase.MIXED: 1.01e-4}),
            result(flow, {flow_step.CHAIN: 1e-3, GLANCE: flow.cost.bytes / 4e12 / 0.9}, kernels=1),
            result(norm, {modulated_norm.CHAIN: 1e-3, GLANCE: norm.cost.bytes / 4e12 / 0.7})]


class Ratios(unittest.TestCase):
    def test_is_of_medians_with_the_quartiles_of_the_rounds(self) -> None:
        r = ratio(Timed([2, 2, 4, 8, 2]), Timed([1, 1, 1, 1, 1]))
        self.assertEqual((r.value, r.low, r.high), (2, 2, 4))


class Checks(unittest.TestCase):
    def test_nan_and_another_shape_do_not_pass(self) -> None:
        good = torch.ones(3)
        self.assertTrue(check([good], [good.double()]).passed)
        self.assertFalse(check([torch.tensor([1, float("nan"), 1])], [good.double()]).passed)
        self.assertFalse(check([torch.ones(2)], [good.double()]).passed)


class Targets(unittest.TestCase):
    def setUp(self) -> None:
        held = [Finding("10000 adapter switches bit-identical, bf16", True, "0 differ")]
        self.targets = targets.evaluate(some_results(), CEILINGS, held)

    def of(self, words: str) -> targets.Target:
        return next(t for t in self.targets if t.what.startswith(words))

    def test_the_worst_case_decides(self) -> None:
        fused = self.of("fused")
        assert fused.worst is not None
        self.assertAlmostEqual(fused.worst[1], 1.04)
        self.assertEqual(fused.verdict, "pass")
        self.assertEqual(self.of("the same").verdict, "miss")

    def test_stretch_and_what_was_not_measured_are_told(self) -> None:
        self.assertEqual(self.of("mixed").verdict, "pass")
        self.assertEqual(self.of("modulated_norm without").verdict, "not measured")
        self.assertEqual(self.of("modulated_norm with h").verdict, "miss")
        self.assertEqual(self.of("flow_step: share").verdict, "pass")
        self.assertEqual(self.of("flow_step: kernels").verdict, "pass")
        self.assertEqual(self.of("adapter switches").verdict, "pass")

    def test_only_the_square_shape_is_asked_of_peft(self) -> None:
        self.assertEqual(len(self.of("PEFT").values), 1)


class Tables(unittest.TestCase):
    def test_every_row_of_a_table_has_the_columns_of_its_header(self) -> None:
        found = report.Report("measure.py", {"device": "NVIDIA H200, something"}, "are made up", CEILINGS,
                              results=some_results())
        found.results[0].refused["glance wgmma"] = "the device's compute capability is not 9.0"
        found.targets = targets.evaluate(found.results, CEILINGS, [])
        with tempfile.TemporaryDirectory() as folder:
            path = report.write(found, Path(folder))
            self.assertTrue(path.name.endswith("-gpu-nvidia-h200.md"))
            text = path.read_text(encoding="utf-8")
            everything = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.assertEqual(len(everything["cases"]), len(found.results))
        width = 0
        for line in text.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            width = width or line.count("|")
            self.assertEqual(line.count("|"), width, line)
        self.assertIn("102.0 (1.020, ", text)
        self.assertIn("Refused: glance wgmma", text)


if __name__ == "__main__":
    unittest.main()

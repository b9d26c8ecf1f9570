"""The command line of measure.py."""
import contextlib
import io
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measure  # noqa: E402
from glance_gpu import shapes  # noqa: E402


class Arguments(unittest.TestCase):
    def test_results_of_a_rehearsal_are_not_beside_the_real_ones(self) -> None:
        real = measure.parse(["--library", "x.so"])
        rehearsal = measure.parse(["--library", "x.so", "--dry-run"])
        self.assertEqual(real.out.name, "results")
        self.assertNotEqual(real.out, rehearsal.out)

    def test_an_unknown_operation_is_refused_by_name(self) -> None:
        text = io.StringIO()
        with contextlib.redirect_stderr(text), self.assertRaises(SystemExit):
            measure.parse(["--library", "x.so", "--only", "flow_step,flow_stop"])
        self.assertIn("flow_stop", text.getvalue())

    def test_quick_has_all_that_the_targets_ask_for(self) -> None:
        scale, _ = measure.scale_of(measure.parse(["--library", "x.so", "--quick"]))
        ranks = {(s.k, s.ns[0], s.rank) for s in scale.sweep}
        self.assertEqual(ranks, {(*f, rank) for f in shapes.ASKED_FEATURES for rank in (16, 64)})

    def test_full_has_every_row_count_feature_pair_and_rank(self) -> None:
        scale, _ = measure.scale_of(measure.parse(["--library", "x.so"]))
        self.assertEqual(len(scale.sweep), len(shapes.ROWS) * len(shapes.FEATURES) * len(shapes.RANKS))
        self.assertEqual(len(set(scale.sweep)), len(scale.sweep))
        asked = len(shapes.ASKED_FEATURES) * len(shapes.RANKS)
        for shape in scale.sweep[:asked]:
            self.assertEqual(shape.rows, shapes.ASKED_ROWS)
            self.assertIn((shape.k, shape.ns[0]), shapes.ASKED_FEATURES)


if __name__ == "__main__":
    unittest.main()

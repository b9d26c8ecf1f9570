"""Which shapes are measured: those of FLUX.1-dev and Qwen-Image at 1024 x 1024, the ones asked about first."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import abi

# K -> N, and the epilogue the model has there.
FEATURES = ((3072, 3072), (3072, 9216), (12288, 3072), (3072, 12288), (3072, 21504), (15360, 3072))
ASKED_FEATURES = ((3072, 3072), (3072, 9216), (12288, 3072))
ASKED_ROWS = 4608
ROWS = (4608, 4096, 1024, 512, 9216)
RANKS = (16, 64, 32)


def is_asked(facts: Mapping[str, Any]) -> bool:
    """Whether a lora_linear case is one that the targets are about, whatever its rank."""
    return (facts["rows"] == ASKED_ROWS and (facts["k"], facts["n"]) in ASKED_FEATURES and facts["linears"] == 1
            and facts["epilogue"] == abi.EPILOGUE_NONE)


@dataclass(frozen=True)
class LinearShape:
    """Linears of N features each on the same rows x K."""

    rows: int
    k: int
    ns: tuple[int, ...]
    rank: int
    epilogue: int = abi.EPILOGUE_NONE

    @property
    def name(self) -> str:
        same = len(set(self.ns)) == 1 and len(self.ns) > 1
        ns = f"{len(self.ns)}x{self.ns[0]}" if same else " + ".join(map(str, self.ns))
        epilogue = {abi.EPILOGUE_NONE: "", abi.EPILOGUE_GELU_TANH: " GELU",
                    abi.EPILOGUE_GATED_RESIDUAL: " gate+residual"}[self.epilogue]
        return f"{self.rows} x {self.k} -> {ns}{epilogue}, r = {self.rank}"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    sweep: tuple[LinearShape, ...]
    # With epilogues, several linears, and single rows.
    others: tuple[LinearShape, ...]
    # In f16 and f32.
    in_other_types: tuple[LinearShape, ...]
    # Rows and the segments they are cut into.
    mixed: tuple[tuple[int, int], ...]
    # K = N of the mixed batch and of the operations on rows.
    width: int
    # Rows of the operations on rows.
    rows: tuple[int, ...]
    # Rows of latents, 64 wide; the last is 256 MB in f32.
    latents: tuple[int, ...]
    heads: int
    ceiling_size: int
    ceiling_copy_bytes: int
    switches: int


def full() -> Scale:
    order = sorted(((rows, k, n, rank) for rows in ROWS for (k, n) in FEATURES for rank in RANKS),
                   key=lambda s: (s[0] != ASKED_ROWS or (s[1], s[2]) not in ASKED_FEATURES, s[0] != ASKED_ROWS))
    return Scale(
        sweep=tuple(LinearShape(rows, k, (n,), rank) for rows, k, n, rank in order),
        others=(LinearShape(4608, 3072, (3072, 3072, 3072), 16),
                LinearShape(4224, 3072, (3072, 3072, 3072), 32),
                LinearShape(4608, 3072, (12288,), 16, abi.EPILOGUE_GELU_TANH),
                LinearShape(4608, 12288, (3072,), 16, abi.EPILOGUE_GATED_RESIDUAL),
                LinearShape(4608, 3072, (3072,), 16, abi.EPILOGUE_GATED_RESIDUAL),
                LinearShape(1, 3072, (18432,), 16),
                LinearShape(2, 3072, (18432,), 16)),
        in_other_types=(LinearShape(1024, 3072, (3072,), 16), LinearShape(1000, 3072, (3072, 64), 32)),
        mixed=((4096, 32), (16384, 32), (4608, 32)),
        width=3072, rows=(4608, 9216), latents=(4096, 1 << 20), heads=24,
        ceiling_size=8192, ceiling_copy_bytes=1 << 30, switches=10_000)


def quick() -> Scale:
    whole = full()
    kept = tuple(s for s in whole.sweep if s.rows == ASKED_ROWS and (s.k, s.ns[0]) in ASKED_FEATURES and s.rank != 32)
    return Scale(
        sweep=kept, others=whole.others[:5], in_other_types=whole.in_other_types[:1], mixed=whole.mixed[:1],
        width=whole.width, rows=whole.rows[:1], latents=whole.latents, heads=whole.heads,
        ceiling_size=whole.ceiling_size, ceiling_copy_bytes=whole.ceiling_copy_bytes, switches=whole.switches)


def rehearsal() -> Scale:
    """Small enough for a CPU; nothing of it is a figure of anything."""
    return Scale(
        sweep=(LinearShape(48, 96, (64,), 16), LinearShape(48, 96, (64,), 64)),
        others=(LinearShape(40, 64, (64, 64, 64), 16), LinearShape(40, 64, (96,), 16, abi.EPILOGUE_GELU_TANH),
                LinearShape(40, 96, (64,), 16, abi.EPILOGUE_GATED_RESIDUAL), LinearShape(1, 64, (128,), 16)),
        in_other_types=(LinearShape(33, 64, (64, 24), 16),),
        mixed=((96, 32),), width=96, rows=(48,), latents=(64, 256), heads=2,
        ceiling_size=256, ceiling_copy_bytes=1 << 20, switches=200)

"""The structs of glance_gpu/abi.py beside the C headers, by the C compiler (skipped without one)."""
import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from glance_gpu import abi  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


def c_name(struct: type[ctypes.Structure]) -> str:
    return "glance" + re.sub("([A-Z])", r"_\1", struct.__name__).lower()


def structs() -> list[type[ctypes.Structure]]:
    return [value for value in vars(abi).values()
            if isinstance(value, type) and issubclass(value, ctypes.Structure) and value is not ctypes.Structure]


@unittest.skipIf(shutil.which("cc") is None, "there is no C compiler")
class Layouts(unittest.TestCase):
    def test_sizes_and_offsets_are_those_of_the_headers(self) -> None:
        expected = {}
        lines = []
        for struct in structs():
            expected[f"{c_name(struct)}"] = ctypes.sizeof(struct)
            lines.append(f'printf("{c_name(struct)} %zu\\n", sizeof({c_name(struct)}));')
            for name, *_ in struct._fields_:
                expected[f"{c_name(struct)}.{name}"] = getattr(struct, name).offset
                lines.append(f'printf("{c_name(struct)}.{name} %zu\\n", offsetof({c_name(struct)}, {name}));')
        lines.append('printf("version %d\\n", GLANCE_ABI_VERSION);')
        expected["version"] = abi.ABI_VERSION
        self.assertEqual(self._printed(lines), expected)

    def _printed(self, lines: list[str]) -> dict[str, int]:
        headers = "".join(f"#include <glance/{path.name}>\n" for path in sorted((ROOT / "include/glance").glob("*.h")))
        source = f"#include <stddef.h>\n#include <stdio.h>\n{headers}int main(void) {{\n{chr(10).join(lines)}\n}}\n"
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "layouts"
            program.with_suffix(".c").write_text(source, encoding="utf-8")
            subprocess.run(["cc", f"-I{ROOT / 'include'}", str(program.with_suffix(".c")), "-o", str(program)],
                           check=True)
            output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
        return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


if __name__ == "__main__":
    unittest.main()

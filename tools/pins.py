"""Write constraints-*.txt: every version and hash that a purpose installs (`make pins`).

One resolution covers all purposes that share a virtual environment, so they agree on every
version; the benchmark's peers get their own, since what they want may contradict ours. The
files hold for every supported Python (markers tell them apart) and name no registry.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ("demo", "test", "docs", "mutants", "pins", "plots")
APART = ("bench",)
BESIDE = ("sqlalchemy20",)  # one package, over the environment of the tests
EXTRAS = {"demo": "demo", "test": "all", "mutants": "all", "bench": "all", "plots": "redis"}


def compile_pins(
    uv: str, target: Path, groups: tuple[str, ...], *options: str, own: bool = True
) -> None:
    """Resolve dependency groups, and with `own` what Escala itself needs, into `target`."""
    command = [uv, "pip", "compile", *(["pyproject.toml"] if own else [])]
    command += ["--universal", "--python-version", "3.11"]
    for group in groups:
        command += ["--group", group]
    for extra in sorted({EXTRAS[group] for group in groups if group in EXTRAS}):
        command += ["--extra", extra]
    command += ["--upgrade", "--quiet"]
    command += ["--output-file", str(target), *options]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Compile the shared resolution, then one file for each purpose out of it."""
    uv = str(Path(sys.executable).parent / "uv")
    final = ("--generate-hashes", "--no-annotate", "--custom-compile-command", "make pins")
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "shared.txt"
        compile_pins(uv, shared, SHARED)
        for group in SHARED:
            target = ROOT / f"constraints-{group}.txt"
            compile_pins(uv, target, (group,), "--constraints", str(shared), *final)
            print(target.name)
    for group in APART:
        target = ROOT / f"constraints-{group}.txt"
        compile_pins(uv, target, (group,), *final)
        print(target.name)
    for group in BESIDE:
        target = ROOT / f"constraints-{group}.txt"
        compile_pins(uv, target, (group,), "--no-deps", *final, own=False)
        print(target.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

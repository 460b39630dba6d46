"""Does a test notice when a decision changes? Mutation testing of the pure machines.

`make mutants` tries every change in every `pure/`; `make mutants NAME=resilience` one chapter.
The score of each module is printed with the mutants that no test noticed; look at one with
`.venv/bin/mutmut show MUTANT`. The aim is 90 %, and a reason for each that is left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTMUT = str(Path(sys.executable).parent / "mutmut")
NOTICED = {"killed", "timeout", "caught by type check", "segfault"}
AIM = 0.9


def wanted(mutant: str, chapters: list[str]) -> bool:
    """Whether a mutant, such as `escala.http.pure.vary.x_key__mutmut_1`, was asked for."""
    return not chapters or any(mutant.startswith(f"escala.{name}.pure.") for name in chapters)


def main() -> int:
    """Run mutmut, print a score for each module, fail with --strict below the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="such as resilience; all when none is named")
    parser.add_argument("--strict", action="store_true", help="exit with 1 below 90 %%")
    options = parser.parse_args()
    patterns = [f"escala.{name}.pure.*" for name in options.chapters]
    same_examples = {**os.environ, "HYPOTHESIS_PROFILE": "ci"}  # else the score would be luck
    subprocess.run([MUTMUT, "run", *patterns], cwd=ROOT, check=True, env=same_examples)
    listed = subprocess.run(
        [MUTMUT, "results", "--all", "true"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    modules: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in listed.stdout.splitlines():
        mutant, _, fate = line.strip().rpartition(": ")
        if mutant and wanted(mutant, options.chapters):
            modules[mutant.rpartition(".")[0]].append((mutant, fate))
    noticed = total = 0
    for module, mutants in sorted(modules.items()):
        killed = sum(fate in NOTICED for _, fate in mutants)
        noticed, total = noticed + killed, total + len(mutants)
        print(f"{killed / len(mutants):7.1%}  {killed:>4} of {len(mutants):<4} {module}")
        for mutant, fate in mutants:
            if fate not in NOTICED:
                print(f"           {fate}: {mutant}")
    score = noticed / total if total else 1.0
    print(f"{score:7.1%}  {noticed:>4} of {total:<4} noticed; the aim is {AIM:.0%}")
    return 1 if options.strict and score < AIM else 0


if __name__ == "__main__":
    sys.exit(main())

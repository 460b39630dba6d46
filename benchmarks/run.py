"""Run a benchmark by name and leave its figures in `benchmarks/results/<name>.json`."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # started as a file: make the folder importable as a package
    sys.path[0] = str(ROOT)

from benchmarks.progress import say  # noqa: E402
from benchmarks.report import BenchmarkError, Goal, Metrics, Report, merge, table, write  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

RESULTS = ROOT / "benchmarks" / "results"

# Each module has GOALS, a dict of metric name to Goal, and measure(quick=...) -> Report.
REGISTRY = {
    "kernel": "benchmarks.kernel",
    "resilience": "benchmarks.resilience",
    "limiting": "benchmarks.limiting",
    "caching": "benchmarks.caching",
    "hashing": "benchmarks.hashing",
    "balancing": "benchmarks.balancing",
    "databases": "benchmarks.databases",
    "gateway": "benchmarks.gateway",
    "endurance": "benchmarks.endurance",
}


def load(name: str) -> tuple[Callable[..., Report], dict[str, Goal]]:
    """Import the benchmark called `name` only when it is wanted."""
    module = importlib.import_module(REGISTRY[name])
    return module.measure, module.GOALS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 0 when every benchmark ran clean, else 1."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(REGISTRY)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes; rough figures")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in REGISTRY]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(REGISTRY)}")
    # A stop from outside unwinds like Ctrl-C, so that no started process outlives the run.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, _interrupt)
    return run(options.name or list(REGISTRY), quick=options.quick)


def run(names: Sequence[str], *, quick: bool) -> int:
    """Run each named benchmark in turn, then print one table of them all."""
    parts: list[Metrics] = []
    goals: dict[str, Goal] = {}
    remarks: list[str] = []
    failed = False
    for name in names:
        say(f"== {name}{' (quick: rough figures)' if quick else ''}")
        try:
            measure, own_goals = load(name)
            goals |= own_goals
            report = measure(quick=quick)
            write(RESULTS / f"{name}.json", report.metrics)
        except BenchmarkError as error:
            remarks.append(f"{name}: {error}")
            failed = True
            continue
        except KeyboardInterrupt:
            say(f"{name}: stopped; its processes are ended and no result was written")
            return 130
        parts.append(report.metrics)
        remarks += [f"{name}: {peer} is absent: {why}" for peer, why in report.absent.items()]
        remarks += [f"{name}: {problem}" for problem in report.problems]
        failed = failed or bool(report.problems)
    sys.stdout.write(table(merge(parts), goals) + "\n")
    for remark in remarks:
        sys.stdout.write(f"! {remark}\n")
    return 1 if failed else 0


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""The options of `escala demo`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from escala.kernel import units

# About a third of what the shop can do on two cores without help, so that five times as much
# is more than it can.
RATE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said."""

    log: Path | None = None
    seconds: float = 60.0
    seed: int = 1
    rate: float = RATE
    orders: float = 0.03
    json: bool = False
    baseline: bool = True
    out: Path = Path()
    shop: Path | None = None
    workers: int = 1

    def command(self) -> str:
        """The command that asks for the same run."""
        parts = ["escala demo", f"--seed {self.seed}", f"--seconds {self.seconds:g}"]
        if self.log is not None:
            parts.append(f"--log {self.log}")
        if self.rate != RATE:
            parts.append(f"--rate {self.rate:g}")
        if self.workers != 1:
            parts.append(f"--workers {self.workers}")
        if not self.baseline:
            parts.append("--no-baseline")
        return " ".join(parts)


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; argparse prints its errors itself and exits with 2."""
    parser = argparse.ArgumentParser(
        prog="escala demo",
        description="Put Escala in front of a small real shop, send traffic, break things, and "
        "show what was saved. Leaves report.html and report.json.",
    )
    add = parser.add_argument
    add("--log", type=Path, metavar="FILE", help="traffic from this access log; gzip is fine")
    add("--seconds", type=_positive, default=60.0, metavar="N", help="about how long, in all (60)")
    add("--seed", type=int, default=1, metavar="N", help="same seed, same traffic (1)")
    add("--rate", type=_positive, default=RATE, metavar="N", help="calm requests/s (%(default)g)")
    add(
        "--orders", type=_share, default=0.03, metavar="P", help="orders, if the log has none (3%%)"
    )
    add("--json", action="store_true", help="print report.json, and nothing else, on stdout")
    add("--no-baseline", action="store_false", dest="baseline", help="only the half with the stack")
    add("--out", type=Path, default=Path(), metavar="DIR", help="where the reports go (.)")
    add("--shop", type=Path, metavar="DIR", help="the shop package (examples/shop)")
    add("--workers", type=_count, default=1, metavar="N", help="gateway processes (1)")
    return Options(**vars(parser.parse_args(argv)))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 86_400:  # noqa: PLR2004  a day; also keeps NaN and infinity out
        msg = f"{text} is not between 0 and 86400"
        raise argparse.ArgumentTypeError(msg)
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:  # noqa: PLR2004
        msg = f"{text} is not between 1 and 64"
        raise argparse.ArgumentTypeError(msg)
    return value


def _share(text: str) -> float:
    try:
        return units.share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

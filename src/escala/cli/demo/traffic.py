"""The traffic of a run: the log it comes from, its schedule, and every request planned."""

from __future__ import annotations

from dataclasses import dataclass

from escala.cli.demo import access_log, load, zipf
from escala.cli.demo.access_log import AccessLog
from escala.cli.demo.options import Options
from escala.cli.demo.phases import Phase, schedule
from escala.cli.demo.plan import Planned, make_plan

# What a half spends besides its schedule: starting, stopping, filling the database.
_AROUND = 3.0
_LEAST = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The same for both halves."""

    log: AccessLog
    phases: tuple[Phase, ...]
    plan: list[Planned]
    rate: float
    seed: int
    again: str  # the command that repeats the run


def make_traffic(options: Options) -> Traffic:
    """Read the log, or make one up, and plan every request."""
    log = access_log.read(options.log) if options.log else zipf.generate(options.seed)
    halves = 2 if options.baseline else 1
    phases = schedule(max(_LEAST, options.seconds / halves - _AROUND))
    plan = make_plan(
        log,
        phases,
        rate=options.rate,
        seed=options.seed,
        orders=options.orders,
        sources=load.sources(),
    )
    return Traffic(
        log=log,
        phases=phases,
        plan=plan,
        rate=options.rate,
        seed=options.seed,
        again=options.command(),
    )

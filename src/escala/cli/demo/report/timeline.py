"""Chart: what was done to each instance, what the gateway made of it, and what it did then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from escala.cli.demo.chaos import ERRORS, SLOW
from escala.cli.demo.half import Half
from escala.cli.demo.outcome import FROM_CACHE, Outcome
from escala.cli.demo.report import series, svg
from escala.cli.demo.report.frame import HEAD, LEFT, RIGHT, WIDTH, Frame
from escala.cli.demo.shop import INSTANCES
from escala.cli.demo.watch import Sample

_LANE, _ROW = 24.0, 30.0
_FAULTS = {
    1: ("killed", "dead", "failed"),
    2: ("slow", f"+{SLOW:g} s", "slow"),
    3: ("errors", f"{ERRORS * 100:.0f} %", "wrong"),
}
_STATES = {"open": "open", "half-open": "trying", "half_open": "trying", "closed": "closed"}
_LETTER = 6.0


def timeline_chart(half: Half, others: Sequence[Half] = ()) -> str:
    """Three lanes of instances, then rows of what the policies did, each on a common scale."""
    frame = Frame(half.phases, _LANE * INSTANCES + _ROW * (len(_ROWS) + 1))
    lanes = [_lane(half, frame, number) for number in range(1, INSTANCES + 1)]
    top = HEAD + _LANE * INSTANCES
    drawn = [_breakers(half, frame, top)]
    for row in _ROWS:
        top += _ROW
        highest = max(max(row.of(each), default=0) for each in (half, *others))
        drawn.append(_row(frame, top, row, row.of(half), highest))
    return svg.picture(
        400,
        frame.total,
        f"Time line of faults, health, breakers, cache hits, retries and refusals, {half.name}",
        frame.bands(),
        *lanes,
        *drawn,
        frame.axis(),
    )


def _lane(half: Half, frame: Frame, number: int) -> str:
    """An instance: coloured while it is hurt, underlined while no traffic is sent to it."""
    top = HEAD + _LANE * (number - 1)
    name, says, kind = _FAULTS[number]
    middle = top + 10
    parts = [
        svg.text(f"no. {number}", LEFT - 5, middle + 3.5, class_="label quiet", anchor="end"),
        svg.line((LEFT, middle), (WIDTH - RIGHT, middle), "track"),
    ]
    hurt = next((phase for phase in half.phases if phase.name == name), None)
    if hurt is not None:
        left, right = frame.x(hurt.start), frame.x(hurt.end)
        parts.append(svg.box(left, middle - 6, right - left, 12, kind))
        if len(says) * _LETTER < right - left:
            at = ((left + right) / 2, middle + 3.5)
            parts.append(svg.text(says, *at, class_="label on", anchor="middle"))
    for start, end in _outages(half.samples, number - 1):
        left, right = frame.x(start), frame.x(end)
        parts.append(svg.box(left, middle + 7.5, max(1.5, right - left), 3, "out"))
    return "".join(parts)


def _outages(samples: Sequence[Sample], target: int) -> list[tuple[float, float]]:
    """When the gateway took an instance for down."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for sample in samples:
        down = target < len(sample.healthy) and not sample.healthy[target]
        if down and since is None:
            since = sample.at
        elif not down and since is not None:
            found.append((since, sample.at))
            since = None
    if since is not None:
        found.append((since, samples[-1].at))
    return found


def _breakers(half: Half, frame: Frame, top: float) -> str:
    """A mark for each transition of a breaker, named where there is room."""
    middle = top + _ROW / 2 + 2
    parts = [
        svg.text("breaker", LEFT - 5, middle + 3.5, class_="label quiet", anchor="end"),
        svg.line((LEFT, middle), (WIDTH - RIGHT, middle), "track"),
    ]
    if "circuit_breaker" not in half.policies:
        parts.append(_remark(frame, middle, "there is none"))
    free = 0.0
    events = [event for event in half.events if event.type == "breaker"]
    for event in events:
        state = _STATES.get(str(event.detail.get("to") or event.detail.get("state") or ""), "")
        x = frame.x(event.at)
        parts.append(svg.box(x - 2, middle - 5, 4, 10, f"mark {state or 'open'}"))
        if state and x > free:
            parts.append(svg.text(state, x, middle - 7, class_="label", anchor="middle"))
            free = x + len(state) * _LETTER + 2
    if "circuit_breaker" in half.policies and not events:
        parts.append(_remark(frame, middle, "closed all the time"))
    return "".join(parts)


def _remark(frame: Frame, middle: float, words: str) -> str:
    return svg.text(words, frame.x(0) + 4, middle - 4, class_="label quiet")


def _row(frame: Frame, top: float, row: _Row, rates: Sequence[float], highest: float) -> str:
    bottom, room = top + _ROW, _ROW - 8
    step = series.width(frame.seconds)
    parts = [
        svg.text(row.name, LEFT - 5, bottom - 3, class_="label quiet", anchor="end"),
        svg.line((LEFT, bottom), (WIDTH - RIGHT, bottom), "track"),
    ]
    for number, rate in enumerate(rates):
        if rate > 0 and highest > 0:
            left, right = frame.x(number * step), frame.x((number + 1) * step)
            high = max(1.0, room * rate / highest)
            parts.append(svg.box(left, bottom - high, right - left - 0.6, high, row.kind))
    if (most := max(rates, default=0)) > 0:
        words = f"{most:,.0f}/s"
        parts.append(svg.text(words, WIDTH - RIGHT + 3, bottom - 3, class_="label quiet"))
    return "".join(parts)


class _Row(NamedTuple):
    name: str
    kind: str
    of: Callable[[Half], list[float]]  # per second, in each stretch of time


def _per_stretch(half: Half, belongs: Callable[[Outcome], bool]) -> list[float]:
    seconds = Frame(half.phases, 0).seconds
    step = series.width(seconds)
    return [sum(map(belongs, part)) / step for part in series.stretches(half.outcomes, seconds)]


def _growth(half: Half, counter: Callable[[Sample], int]) -> list[float]:
    return series.rates(half.samples, Frame(half.phases, 0).seconds, counter)


_ROWS = (
    _Row("hits", "cache", lambda half: _per_stretch(half, lambda o: o.cache in FROM_CACHE)),
    _Row("retries", "shop", lambda half: _growth(half, lambda sample: sample.retries)),
    _Row("refused", "refused", lambda half: _per_stretch(half, lambda o: not o.admitted)),
)

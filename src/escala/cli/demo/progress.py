"""What a person sees while the demo runs: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from escala.cli.demo.outcome import Outcome
from escala.cli.demo.percentile import percentile
from escala.cli.demo.phases import Phase
from escala.kernel.runtime import colours

_LOOK_BACK = 2.0
_STEP = 0.25
_PLAIN_EVERY = 2.0


class Progress:
    """Draws the half that runs; `console` decides whether it is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = ""
        self._phases: tuple[Phase, ...] = ()
        self._outcomes: Sequence[Outcome] = ()
        self._start = 0.0

    def note(self, text: str) -> None:
        """One line, now."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def begin(
        self, name: str, phases: tuple[Phase, ...], outcomes: Sequence[Outcome], start: float
    ) -> None:
        """A half begins at loop time `start`; `outcomes` grows while it runs."""
        self._name, self._phases, self._outcomes, self._start = name, phases, outcomes, start

    def phase(self, phase: Phase) -> None:
        """A phase begins."""
        self.note(f"{self._name:>8} {phase.start:5.1f} s  {phase.says}")

    async def run(self) -> None:
        """Draw until cancelled."""
        if self._console.is_terminal:
            with self._bar() as bar:
                task = bar.add_task(self._name, total=self._phases[-1].end, state="")
                while True:
                    bar.update(task, completed=max(0.0, self._elapsed()), state=self.state())
                    await colours.loop.sleep(_STEP)
        while True:
            await colours.loop.sleep(_PLAIN_EVERY)
            self.note(f"{self._name:>8} {self._elapsed():5.1f} s  {self.state()}")

    def state(self) -> str:
        """The last two seconds in a line."""
        since = self._elapsed() - _LOOK_BACK
        recent: list[Outcome] = []
        for outcome in reversed(self._outcomes):  # in order of their end, so nearly of their start
            if outcome.at + outcome.latency < since:
                break
            recent.append(outcome)
        if not recent:
            return "no answers yet"
        admitted = [outcome for outcome in recent if outcome.admitted]
        served = sum(outcome.ok for outcome in recent)
        share = f"{served / len(admitted):4.0%} ok" if admitted else "none admitted"
        p99 = percentile([outcome.latency for outcome in admitted], 0.99) * 1000
        return (
            f"{len(recent) / _LOOK_BACK:4.0f}/s  {share}  p99 {p99:5.0f} ms  "
            f"{len(admitted) - served:4} failed  {len(recent) - len(admitted):4} refused"
        )

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._start

    def _bar(self) -> Bar:
        columns: list[Any] = [
            TextColumn("{task.description:>8}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[state]}"),
        ]
        return Bar(*columns, console=self._console, refresh_per_second=4, transient=True)

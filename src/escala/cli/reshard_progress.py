"""What a person sees while slots move: a line for each pair of shards that changes in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Lines
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from escala.databases.resharding.progress import Progress

Tell = Callable[[Progress], None]


@contextmanager
def shown_progress(*, plain: bool) -> Iterator[Tell]:
    """Give what to tell; a terminal is drawn on, elsewhere each new state is a line on stderr."""
    console = Console(stderr=True)
    if plain or not console.is_terminal:
        yield _plain()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("[bold]{task.fields[state]:<10}"),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    with Lines(*columns, console=console) as lines:
        tasks: dict[str, TaskID] = {}

        def tell(progress: Progress) -> None:
            state, text = progress.state, progress.text
            if progress.pair not in tasks:
                tasks[progress.pair] = lines.add_task(
                    progress.pair, total=None, state=state, text=text
                )
            lines.update(tasks[progress.pair], state=state, text=text)

        yield tell


def _plain() -> Tell:
    last: dict[str, str] = {}

    def tell(progress: Progress) -> None:
        if last.get(progress.pair) != progress.state:
            last[progress.pair] = progress.state
            print(f"{progress.pair}: {progress.state}", file=sys.stderr, flush=True)

    return tell

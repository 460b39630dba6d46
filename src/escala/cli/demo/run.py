"""The command: run both halves, then write and print what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from escala.cli.demo import load, options
from escala.cli.demo.caveats import caveats
from escala.cli.demo.figures import figures
from escala.cli.demo.half import Half, run_half
from escala.cli.demo.progress import Progress
from escala.cli.demo.report.page import page
from escala.cli.demo.shop import find_shop
from escala.cli.demo.table import table
from escala.cli.demo.traffic import Traffic, make_traffic
from escala.errors import ConfigError, EscalaError

T = TypeVar("T")

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: list[str]) -> int:
    """`escala demo`: 0 when it ran, 2 for wrong options, 1 when something did not start."""
    chosen = options.parse(argv)
    # With --json the figures alone go to stdout; what is for people goes to stderr.
    console = Console(stderr=chosen.json)
    try:
        return _run(chosen, console)
    except (EscalaError, OSError) as error:
        print(f"escala demo: {error}", file=sys.stderr)
        return MISUSED if isinstance(error, ConfigError) else FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("escala demo: stopped", file=sys.stderr)
        return INTERRUPTED


def _with_loop(work: Coroutine[Any, Any, T]) -> T:
    # uvloop halves what the generator costs the machine that it measures.
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"--out {path}: no right to write there")
    return path


def _run(chosen: options.Options, console: Console) -> int:
    if find_spec("uvicorn") is None:
        raise ConfigError('the shop needs uvicorn: pip install "escala[demo]"')
    place = find_shop(chosen.shop)
    out = _directory(chosen.out)
    traffic = make_traffic(chosen)
    progress = Progress(console)
    progress.note(f"{traffic.log}; {len(traffic.plan):,} requests a half, seed {traffic.seed}")
    load.raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="escala-demo-") as work:
        halves = _with_loop(_halves(chosen, traffic, place, Path(work), progress))
    found = figures(traffic, halves.get("baseline"), halves["stack"])
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    (out / "report.json").write_text(text + "\n")
    (out / "report.html").write_text(page(traffic, found, list(halves.values())))
    if chosen.json:
        print(text)
    console.print(table(found))
    for caveat in caveats(found):
        progress.note(caveat)
    progress.note(f"{out / 'report.html'} and {out / 'report.json'} written")
    return DONE


async def _halves(
    chosen: options.Options, traffic: Traffic, place: Path, work: Path, progress: Progress
) -> dict[str, Half]:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    halves = {}
    for name in ("baseline", "stack") if chosen.baseline else ("stack",):
        folder = work / name
        folder.mkdir()
        halves[name] = await run_half(
            name,
            place=place,
            work=folder,
            phases=traffic.phases,
            plan=traffic.plan,
            workers=chosen.workers,
            progress=progress,
        )
    return halves

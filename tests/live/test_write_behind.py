"""Write-behind in real time: threads, processes that share a journal, and disks that are full."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from escala.caching.write import Pending, Write
from escala.caching.write_behind import WriteBehind
from escala.errors import JournalTaken, Shed, WouldBlock

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
QUICK = "?lease=400ms"


class Process:
    """A writer of its own; `ask` says a line to it and returns the answer."""

    def __init__(self, folder: Path, query: str = "", **given: Any) -> None:
        url = f"sqlite:///{folder}/wb.db{query}"
        command = [sys.executable, str(HERE / "write_behind_process.py"), url, str(folder)]
        self.process = subprocess.Popen(
            [*command, json.dumps(given)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.heard() == "ready"

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.heard()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def one(query: str = "", **given: Any) -> Process:
        started.append(Process(tmp_path, query, **given))
        return started[-1]

    yield one
    for process in started:
        process.signal(signal.SIGCONT)
        process.end()


def saved(folder: Path, key: str) -> str | None:
    file = folder / key
    return json.loads(file.read_text())[0] if file.exists() else None


def test_a_second_process_is_refused_while_the_first_lives(start: Start) -> None:
    first, second = start(QUICK), start(QUICK)
    assert first.ask("set a 1").isdigit()
    answer = second.ask("set a 2")
    assert answer.startswith("JournalTaken")
    assert "another process owns it, and lives" in answer
    assert first.ask("set a 3").isdigit()


def test_it_takes_over_at_once_from_one_that_was_killed(start: Start, tmp_path: Path) -> None:
    first = start(flush="10m")
    sequence = int(first.ask("set a 1"))
    first.end()
    began = time.monotonic()
    second = start()
    assert int(second.ask("set b 2")) > sequence
    assert time.monotonic() - began < 4.0, "less than the lease of 5 s"
    assert second.ask("flush") == "None"
    assert (saved(tmp_path, "a"), saved(tmp_path, "b")) == ("1", "2")


def test_it_takes_over_at_once_from_one_that_has_closed(start: Start) -> None:
    first, second = start(), start()
    first.ask("set a 1")
    assert first.ask("close") == "0"
    assert second.ask("set a 2").isdigit()
    assert "another process owns it" in first.ask("set a 3")


def test_one_that_sleeps_is_replaced_and_then_writes_nothing(start: Start, tmp_path: Path) -> None:
    first = start(QUICK, flush="1s")
    assert first.ask("set a old").isdigit()
    first.signal(signal.SIGSTOP)
    second = start(QUICK)
    assert second.ask("set a new").isdigit()
    assert second.ask("flush") == "None"
    assert saved(tmp_path, "a") == "new"
    first.signal(signal.SIGCONT)
    answer = first.ask("set b 1")
    assert answer.startswith("JournalTaken"), answer
    time.sleep(1.2)  # its flush would have been due
    assert saved(tmp_path, "a") == "new", "what was pending there is the other one's"
    assert second.ask("close") == "0"
    assert first.ask("set b 2").isdigit(), "and when the other has gone, it is the owner again"


def test_the_end_of_the_program_drains(start: Start, tmp_path: Path) -> None:
    first = start(flush="10m")
    first.ask("set a 1")
    first.say("leave")
    first.process.wait(10)
    assert saved(tmp_path, "a") == "1"
    assert start().ask("snapshot").startswith("{'pending': 0.0")


class Slow:
    """A source of either colour."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.threads: set[int] = set()

    def save_many(self, writes: list[Write]) -> None:
        self.threads.add(threading.get_ident())
        self.values.update((write.key, write.value) for write in writes)

    async def asave_many(self, writes: list[Write]) -> None:
        await asyncio.sleep(0.001)
        self.save_many(writes)


@pytest.mark.parametrize("saver", ["save_many", "asave_many"])
def test_threads_and_loops_write_together(tmp_path: Path, saver: str) -> None:
    source = Slow()
    writes = WriteBehind(
        getattr(source, saver),
        journal=f"sqlite:///{tmp_path}/wb.db",
        flush="5ms",
        max_pending=7,
    )

    def thread(mine: int) -> None:
        for number in range(50):
            writes.set(f"t{mine}-{number % 3}", number)

    async def tasks() -> None:
        async def one(mine: int) -> None:
            for number in range(50):
                await writes.aset(f"a{mine}-{number % 3}", number)

        await asyncio.gather(*map(one, range(10)))

    threads = [threading.Thread(target=thread, args=(mine,)) for mine in range(5)]
    threads += [threading.Thread(target=asyncio.run, args=(tasks(),)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    writes.flush()
    assert writes.close() == 0
    last = {key: value for key, value in source.values.items() if key.startswith("t")}
    turns = {0: 48, 1: 49, 2: 47}
    assert last == {f"t{mine}-{turn}": turns[turn] for mine in range(5) for turn in turns}
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_a_sync_call_that_has_to_wait_refuses_in_a_loop(tmp_path: Path) -> None:
    writes = WriteBehind(Slow().save_many, journal=f"sqlite:///{tmp_path}/wb.db")

    async def main() -> None:
        with pytest.raises(WouldBlock):
            writes.set("a", 1)
        await writes.aset("a", 1)
        await writes.aclose()

    asyncio.run(main())


def test_a_source_that_hangs_does_not_keep_the_program(tmp_path: Path) -> None:
    hang = threading.Event()
    writes = WriteBehind(
        lambda _: hang.wait(30), journal=f"sqlite:///{tmp_path}/wb.db", flush="1ms", drain="100ms"
    )
    writes.set("a", 1)
    began = time.monotonic()
    assert writes.close() == 1
    assert time.monotonic() - began < 3.0
    hang.set()
    with WriteBehind(Slow().save_many, journal=f"sqlite:///{tmp_path}/wb.db") as again:
        assert again.pending("a") == 1


def test_a_forked_child_has_no_part_in_it(tmp_path: Path) -> None:
    source = Slow()
    writes = WriteBehind(source.save_many, journal=f"sqlite:///{tmp_path}/wb.db{QUICK}", flush="1h")
    writes.set("a", 1)
    child = os.fork()
    if not child:
        code = 1
        try:
            writes.set("a", 2)
        except JournalTaken:
            code = 7
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writes.set("b", 1)
    writes.close()
    assert source.values == {"a": 1, "b": 1}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def filled(writes: WriteBehind, *, mounted: bool) -> int:
    """Write until there is no room; how many were acknowledged."""
    if not mounted:  # who may not mount gives the file a limit of its own
        connection: Any = writes.open()._journal._file._connection  # type: ignore[union-attr]
        connection.execute("PRAGMA max_page_count=400")
    noise = Random(1)
    for number in range(10_000):
        try:
            writes.set(f"k{number}", noise.randbytes(2000).hex())
        except Shed:
            return number
    raise AssertionError("the disk is not full")


def test_a_full_disk_sheds_loses_nothing_and_recovers(small: Path) -> None:
    source = Slow()
    given: dict[str, Any] = {"journal": f"sqlite:///{small}/wb.db", "on_full": "shed"}
    writes = WriteBehind(source.save_many, flush="1h", max_bytes="1GiB", **given)
    for _ in range(3):
        source.values.clear()
        count = filled(writes, mounted=os.path.ismount(small))
        assert count > 100
        assert writes.pending(f"k{count}") is Pending.NOTHING
        writes.flush()
        assert sorted(source.values) == sorted(f"k{number}" for number in range(count))
    assert writes.close() == 0
    with WriteBehind(source.save_many, **given) as again:
        assert again.snapshot()["pending"] == 0


@pytest.mark.parametrize("on_full", ["block", "write_through"])
def test_a_disk_that_others_have_filled(small: Path, on_full: Any) -> None:
    source = Slow()
    journal = f"sqlite:///{small}/wb.db"
    writes = WriteBehind(source.save_many, journal=journal, flush="20ms", on_full=on_full)
    writes.set("a", "before")
    filler = small / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(5000):
            file.write(bytes(1024))
    connection: Any = writes._journal._file._connection  # type: ignore[union-attr]
    if not os.path.ismount(small):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    value = Random(2).randbytes(300_000).hex()

    def make_room() -> None:
        filler.unlink()
        connection.execute("PRAGMA max_page_count=100000")

    timer = threading.Timer(0.5, make_room)
    timer.start()
    began = time.monotonic()
    writes.set("a", value)
    took = time.monotonic() - began
    if on_full == "block":
        assert took > 0.4
    else:
        assert source.values["a"] == value
        assert took < 0.4
    timer.join()
    assert writes.close() == 0
    assert source.values == {"a": value}

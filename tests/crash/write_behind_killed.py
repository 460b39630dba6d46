"""Kills writers in the middle of their work, again and again, and compares the source at the end.

A process of its own without threads, so that it can fork: a child costs milliseconds, not an
import. Arguments: points, seed, mode ("last" or "merge"), folder. Prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from escala.caching.write import Pending, Write
from escala.caching.write_behind import WriteBehind

POINTS, SEED, MODE, FOLDER = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
JOURNAL, SOURCE = FOLDER / "wb.db", FOLDER / "source.db"
LONGEST = 0.1
EACH, KEYS_OF_EACH = 4, 3

Told = defaultdict[str, defaultdict[str, int]]


def state(number: int) -> int | None:
    """What the write of this number leaves: every seventh is a deletion."""
    return None if number % 7 == 0 else number


# The source of merged writes ignores a sequence that is not above the one it has; the other one
# takes what comes, so that any wrong order shows.
TABLE = """
    CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value INTEGER, sequence INTEGER)
"""
SAVE = {
    "last": "REPLACE INTO kept VALUES (?, ?, ?)",
    "merge": "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
    "value = value + excluded.value, sequence = excluded.sequence "
    "WHERE excluded.sequence > sequence",
}


class Source:
    """Another SQLite file, which now and then fails."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.file = sqlite3.connect(SOURCE, isolation_level=None, check_same_thread=False)
        self.file.execute("PRAGMA journal_mode=WAL")
        self.file.execute("PRAGMA synchronous=OFF")  # a killed process loses nothing by that
        self.file.execute(TABLE)

    def save_many(self, writes: list[Write]) -> None:
        assert len({write.key for write in writes}) == len(writes), "one write of each key"
        self._fail(0.1)
        self.file.execute("BEGIN IMMEDIATE")
        rows = [(write.key, write.value, write.sequence) for write in writes]
        self.file.executemany(SAVE[MODE], rows)
        self.file.execute("COMMIT")
        self._fail(0.1)  # the source has them, and no one is told

    async def asave_many(self, writes: list[Write]) -> None:
        await asyncio.sleep(0)
        self.save_many(writes)

    def _fail(self, share: float) -> None:
        if self._rng.random() < share:
            raise OSError("the source is away for a moment")

    def kept(self) -> dict[str, int | None]:
        return dict(self.file.execute("SELECT key, value FROM kept").fetchall())


def opened(rng: random.Random) -> WriteBehind:
    source = Source(rng)
    merging = MODE == "merge"
    return WriteBehind(
        source.asave_many if rng.random() < 0.3 else source.save_many,
        journal=f"sqlite:///{JOURNAL}",
        flush=rng.choice(["1ms", "5ms", "20ms"]),
        max_batch=rng.choice([2, 5, 100]),
        backoff="1ms",
        max_backoff="4ms",
        merge=(lambda older, newer: older + newer) if merging else None,
        drain="20s",
    )


class Child:
    """Writes without end, and says before each write that it is tried, after it that it is safe."""

    def __init__(self, seed: int, told: int, counts: defaultdict[str, int]) -> None:
        self.told, self.counts = told, counts
        rng = random.Random(seed)
        self.writes = opened(rng)
        if rng.random() < 0.5:
            asyncio.run(self.tasks())
        for mine in range(EACH):
            threading.Thread(target=self.thread, args=(mine,)).start()

    def say(self, what: str, key: str, number: int) -> None:
        try:
            os.write(self.told, f"{what} {key} {number}\n".encode())
        except OSError:
            os._exit(2)  # whoever was to kill us is gone

    def next_of(self, mine: int, turn: int) -> tuple[str, Any]:
        key = f"key-{mine}-{turn % KEYS_OF_EACH}"
        self.counts[key] += 1
        self.say("tried", key, self.counts[key])
        if MODE == "merge":
            return key, 1
        value = state(self.counts[key])
        return key, Pending.DELETED if value is None else value

    def thread(self, mine: int) -> None:
        for turn in itertools.count():
            key, value = self.next_of(mine, turn)
            self.writes.delete(key) if value is Pending.DELETED else self.writes.set(key, value)
            self.say("safe", key, self.counts[key])

    async def task(self, mine: int) -> None:
        for turn in itertools.count():
            key, value = self.next_of(mine, turn)
            if value is Pending.DELETED:
                await self.writes.adelete(key)
            else:
                await self.writes.aset(key, value)
            self.say("safe", key, self.counts[key])

    async def tasks(self) -> None:
        await asyncio.gather(*map(self.task, range(EACH)))


def forked(run: Any, *args: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        run(*args)
        while True:
            signal.pause()
    except BaseException:  # noqa: BLE001  a child returns to no one
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def killed(rng: random.Random, told: Told) -> None:
    ours, theirs = os.pipe()
    pid = forked(Child, rng.getrandbits(32), theirs, told["tried"].copy())
    os.close(theirs)
    time.sleep(rng.random() * LONGEST)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    with os.fdopen(ours) as lines:
        for line in lines:
            if line.endswith("\n"):
                what, key, number = line.split()
                told[what][key] = int(number)
                told[f"count {what}"][key] += 1


def drained(rng: random.Random) -> None:
    def run(seed: int) -> None:
        writes = opened(random.Random(seed)).open()
        os._exit(0 if writes.close() == 0 else 3)

    pid = forked(run, rng.getrandbits(32))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "everything is saved"


def wrong(told: Told) -> list[str]:
    kept = Source(random.Random(0)).kept()
    found = []
    for key, value in {**dict.fromkeys(told["tried"]), **kept}.items():
        # A write that was tried when its process died may have been made, or not.
        if MODE == "merge":
            safe, tried = (told[f"count {what}"][key] for what in ("safe", "tried"))
            right = safe <= (value or 0) <= tried
        else:
            safe, tried = told["safe"][key], told["tried"][key]
            right = value in {state(number) for number in range(safe, tried + 1)}
        if not right:
            found.append(f"{key}: {safe} was safe, {tried} tried, the source has {value}")
    return found


def main() -> None:
    rng = random.Random(SEED)
    told: Told = defaultdict(lambda: defaultdict(int))
    found: list[str] = []
    compared = 0
    for point in range(POINTS):
        killed(rng, told)
        if rng.random() < 0.4 or point == POINTS - 1:
            drained(rng)
            compared += 1
            found += wrong(told)
    safe = sum(told["count safe"].values())
    sys.stdout.write(json.dumps({"compared": compared, "safe": safe, "wrong": found}))


main()

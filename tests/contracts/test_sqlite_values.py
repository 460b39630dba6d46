"""The second level in an SQLite file keeps to the contract of every value store."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.value_store_contract import (
    Listening,
    Open,
    Talker,
    ValueStoreContract,
    as_thread,
    blob_of,
    key,
    lines_of_a_fork,
    tag,
    until,
)

from escala.caching import sqlite_life
from escala.caching.value_store import ValueStore, open_value_store
from escala.errors import ConfigError, StoreUnavailable

pytestmark = pytest.mark.live


BOUND = 0.2


class TestSqliteValues(ValueStoreContract):
    bound = BOUND

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/cache.db"

    @pytest.fixture
    def opened(self, url: str) -> Open:
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        with sqlite3.connect(store._link.path) as file:
            file.execute("UPDATE escala_value_lives SET boot = 'another'")
        file.close()

    def few_tags(self, store: Any, most: int) -> None:
        store._most_tags = most

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        with sqlite3.connect(store._link.path) as file:
            name = key.encode()
            (blob,) = file.execute(
                "SELECT blob FROM escala_values WHERE key = ?", (name,)
            ).fetchone()
            file.execute("UPDATE escala_values SET blob = ? WHERE key = ?", (change(blob), name))
        file.close()


class File:
    """A file of the test's own, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def talker(self, writer: str) -> Talker:
        return Talker(open_value_store(self.url, "c", writer), as_thread)

    def run(self, *what: Any) -> list[Any]:
        with sqlite3.connect(self.path) as file:
            found = file.execute(*what).fetchall()
        file.close()
        return found


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "cache.db")


@pytest.fixture
def one(file: File) -> Iterator[Talker]:
    talker = file.talker("a1")
    yield talker
    talker.store.close()


@pytest.fixture
def two(file: File) -> Iterator[Talker]:
    talker = file.talker("b2")
    yield talker
    talker.store.close()


LOADS = """
import sys, time
from escala.caching.pure.blob import Header, pack
from escala.caching.value_store import Put, Signal, open_value_store
from escala.kernel.runtime import colours, drive

store, on = open_value_store(sys.argv[1], "c", sys.argv[2]), colours.thread
print("ready", flush=True)
until = time.monotonic() + 20
while time.monotonic() < until:
    (found,) = drive(store.read(["ann"], 0.2, on))
    if found.token is not None:
        blob = pack("ann", Header(found.mark, 60.0, 60.0, 0.1, ("t",), False), b"x" * 9000)
        if drive(store.store([Put("ann", found.token, blob, 60.0)], on)) == [True]:
            drive(store.invalidate([Signal("key", "ann"), Signal("tag", "t")], on))
"""


def test_a_process_that_is_killed_leaves_the_file_whole(one: Talker, file: File) -> None:
    one.load("kept", "u")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", LOADS, file.url, f"w{nth}"], stdout=subprocess.PIPE, text=True
        )
        for nth in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    time.sleep(0.3)
    before = one.look("kept").mark.clock
    assert before > 0
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
    assert file.run("PRAGMA integrity_check") == [("ok",)]
    assert one.look("kept").blob is not None
    time.sleep(one.look("ann").wait + 0.01)
    one.load("ann", "t")
    assert one.look("ann").mark.clock >= before


def test_what_others_wrote_into_the_row_is_a_miss(one: Talker, file: File) -> None:
    for column in ("blob", "ends", "token", "until", "held", "expired"):
        one.load("ann")
        file.run(f"UPDATE escala_values SET {column} = 'text'")  # noqa: S608  from the line above
        assert one.look("ann").token is None
        one.load("ann")
        assert one.read("ann")[0].token is None, column


def test_what_is_over_goes(one: Talker, file: File) -> None:
    for nth in range(40):
        one.load(f"k{nth}", keep=0.01)
    time.sleep(0.02)
    for nth in range(5):
        one.load(f"new{nth}")
    assert file.run("SELECT count(*) FROM escala_values") == [(5,)]


def test_a_file_that_can_not_be_opened_is_away(tmp_path: Path) -> None:
    store = open_value_store(f"sqlite:///{tmp_path}/none/cache.db", "c", "a1")
    ear = Listening(BOUND)
    store.listen(ear)
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Talker(store, as_thread).look()
    (tmp_path / "none").mkdir()
    until(lambda: ear.hears)
    assert ear.turns == ["lost", "regained"]
    store.close()


def test_who_was_away_for_too_long_has_missed_something(
    one: Talker, two: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_life, "_REMEMBERED", 3)
    ear = Listening(BOUND)
    two.store.listen(ear)
    until(lambda: ear.hears)
    one.load()
    time.sleep(0.05)
    before = len(ear.turns)
    one.invalidate(*[key(f"k{nth}") for nth in range(3)])
    until(lambda: len(ear.signals) == 3)
    assert len(ear.turns) == before
    one.invalidate(*[key(f"k{nth}") for nth in range(4)])
    until(lambda: len(ear.turns) == before + 1)
    assert ear.turns[-1] == "regained"
    assert [signal.name for signal in ear.signals[3:]] == ["k1", "k2", "k3"]


def test_after_a_restart_of_the_machine_nothing_is_valid(
    one: Talker, two: Talker, file: File
) -> None:
    ear = Listening(BOUND)
    two.store.listen(ear)
    one.load("ann", "t")
    two.invalidate(tag("t", soft=True))
    until(lambda: ear.hears)
    time.sleep(0.05)
    before = len(ear.turns)
    file.run("UPDATE escala_value_lives SET boot = 'before'")
    (found,) = one.read("ann")
    assert (found.blob, found.expired, found.mark.clock) == (None, False, 0)
    until(lambda: len(ear.turns) > before)
    assert one.put_blob("ann", found.token or b"", blob_of("ann", found.mark, "t"))
    assert two.read("ann")[0][1:3] == (False, None)


def test_a_forked_child_hears_with_an_ear_of_its_own(file: File) -> None:
    told = lines_of_a_fork(file.url, BOUND)
    assert told["child"] == ["lost", "asks", "regained", "theirs"]
    assert [each for each in told["parent"] if each != "regained"] == ["lost", "theirs"]
    assert file.run("PRAGMA integrity_check") == [("ok",)]


def test_its_url_is_checked() -> None:
    for url, why in {
        "sqlite://": "expected a file",
        "sqlite:///a.db?bound=1s": "bound",
        "sqlite:///a.db?events=pubsub": "events",
    }.items():
        with pytest.raises(ConfigError, match=why) as caught:
            open_value_store(url, "orders", "a1")
        assert str(caught.value).startswith("orders: l2: ")

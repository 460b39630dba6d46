"""Room that is kept on a disk, and who lives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from escala.kernel.runtime import colours, drive
from escala.stores.ballast import Ballast
from escala.stores.life_lock import LifeLock
from escala.stores.memory_journal import MemoryJournal


def test_room_is_kept_until_it_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "room"
    ballast = Ballast(str(file), 10_000)
    assert ballast.keep()
    assert file.stat().st_size == 10_000
    assert file.stat().st_blocks * 512 >= 10_000
    assert ballast.keep()
    ballast.drop()
    assert not file.exists()
    ballast.drop()
    assert ballast.keep()
    assert file.exists()


def test_no_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    ballast = Ballast(str(tmp_path / "room"), 10_000)
    assert not ballast.keep()
    assert list(tmp_path.iterdir()) == []


def test_a_byte_is_free_when_its_holder_has_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        held = LifeLock(path).hold(7)
        os.write(ready[1], b"y" if held else b"n")
        os.read(done[0], 1)
        os._exit(0)
    assert os.read(ready[0], 1) == b"y"
    lock = LifeLock(path)
    assert not lock.is_free(7)
    assert not lock.hold(7)
    assert lock.is_free(8)
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    assert lock.is_free(7)
    assert lock.hold(7)
    lock.close()
    lock.close()


def test_a_journal_in_memory_counts() -> None:
    journal = MemoryJournal(7)
    told: list[object] = []
    journal.open(lambda *_: None, told.append)
    number = drive(journal.append(b"a", colours.thread, lambda *outcome: told.append(outcome)))
    assert number == 7
    assert drive(journal.append(None, colours.thread)) == 8
    assert told == [None, (7, None)]

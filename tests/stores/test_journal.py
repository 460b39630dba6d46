"""The journal's file: what it holds, whose it is, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from escala.errors import ConfigError, JournalFull, JournalTaken, StoreUnavailable
from escala.kernel.runtime import colours, drive
from escala.stores import journal as journal_module
from escala.stores.journal import Journal
from escala.stores.journal_file import APPLICATION, VERSION
from escala.testing import VirtualRuntime


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/wb.db"


class Opened:
    """A journal, and what it replayed."""

    def __init__(self, path: str, query: str = "") -> None:
        self.journal = Journal(f"sqlite:///{path}{query}")
        self.replayed: list[tuple[int, bytes]] = []
        self.file: Any = self.journal._file

    def open(self) -> Opened:
        opened = threading.Event()
        errors: list[BaseException | None] = []

        def ended(error: BaseException | None) -> None:
            errors.append(error)
            opened.set()

        self.journal.open(lambda number, body: self.replayed.append((number, body)), ended)
        assert opened.wait(10)
        if errors[0] is not None:
            raise errors[0]
        return self

    def append(self, body: bytes | None, ended: Callable[..., None] = lambda *_: None) -> int:
        return drive(self.journal.append(body, colours.thread, ended))

    def commit(self, rows: dict[int, bytes | None] | None = None) -> None:
        drive(self.journal.commit(rows or {}, colours.thread))

    def close(self) -> None:
        drive(self.journal.close(colours.thread))


Open = Callable[..., Opened]


@pytest.fixture
def opened(path: str) -> Iterator[Open]:
    made: list[Opened] = []

    def make(query: str = "") -> Opened:
        made.append(Opened(path, query))
        return made[-1].open()

    yield make
    for each in made:
        each.close()


def bodies(path: str) -> list[bytes]:
    file = sqlite3.connect(path)
    found = [body for (body,) in file.execute("SELECT body FROM row ORDER BY number")]
    file.close()
    return found


def test_what_is_appended_is_replayed_in_order(opened: Open) -> None:
    first = opened()
    numbers = [first.append(body) for body in (b"a", b"", b"c")]
    assert numbers == sorted(numbers)
    first.close()
    second = opened()
    assert second.replayed == list(zip(numbers, (b"a", b"", b"c"), strict=True))
    assert second.append(b"d") > numbers[-1]


def test_numbers_that_keep_nothing_count_too(opened: Open, path: str) -> None:
    journal = opened()
    assert journal.append(None) + 1 == journal.append(b"a")
    assert bodies(path) == [b"a"]


def test_the_first_number_is_the_token_and_one(opened: Open) -> None:
    assert opened().append(b"") == (1 << 40) + 1


def test_what_is_appended_is_in_the_file_before_append_returns(opened: Open, path: str) -> None:
    journal = opened()
    seen: list[list[bytes]] = []
    journal.append(b"a", lambda *_: seen.append(bodies(path)))
    assert seen == [[b"a"]]
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal.file._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_commit_changes_what_is_there(opened: Open, path: str) -> None:
    journal = opened()
    first, second, third = (journal.append(body) for body in (b"a", b"b", b"c"))
    journal.commit({first: None, second: b"B"})
    assert bodies(path) == [b"B", b"c"]
    journal.journal.change({third: None})
    journal.commit()
    assert bodies(path) == [b"B"]


def test_what_is_owed_is_written_beside_the_next(opened: Open, path: str) -> None:
    journal = opened()
    first = journal.append(b"a")
    journal.append(b"b", lambda *_: journal.journal.owe({first: None}))
    assert bodies(path) == [b"a", b"b"]
    journal.append(b"c")
    assert bodies(path) == [b"b", b"c"]


def test_what_is_owed_is_written_when_it_closes(opened: Open, path: str) -> None:
    journal = opened()
    number = journal.append(b"a")
    journal.append(b"b", lambda *_: journal.journal.owe({number: None}))
    journal.close()
    assert bodies(path) == [b"b"]


def test_many_threads_and_tasks_share_commits(opened: Open, path: str) -> None:
    journal = opened()
    commits = 0
    write = journal.file.write

    def counting(*args: Any, **options: Any) -> None:
        nonlocal commits
        commits += 1
        write(*args, **options)

    journal.file.write = counting
    told: list[int] = []

    def thread() -> None:
        for _ in range(20):
            journal.append(b"t", lambda number, _: told.append(number))

    async def tasks() -> None:
        append = journal.journal.append
        ended = lambda number, _: told.append(number)  # noqa: E731
        await asyncio.gather(*[append(b"a", colours.loop, ended) for _ in range(200)])

    threads = [threading.Thread(target=thread) for _ in range(10)]
    for each in threads:
        each.start()
    asyncio.run(tasks())
    for each in threads:
        each.join()
    assert len(bodies(path)) == 400
    assert told == sorted(told)
    assert commits < 200


def test_a_cancelled_caller_leaves_a_whole_record(opened: Open, path: str) -> None:
    journal = opened()
    told: list[int] = []

    async def main() -> None:
        append = journal.journal.append(b"a", colours.loop, lambda number, _: told.append(number))
        task = asyncio.create_task(append)
        await colours.loop.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    journal.commit()
    assert bodies(path) == [b"a"]
    assert len(told) == 1


def test_a_file_of_a_newer_version_is_refused(opened: Open, path: str) -> None:
    opened().close()
    file = sqlite3.connect(path)
    file.execute(f"PRAGMA user_version={VERSION + 1}")
    file.close()
    with pytest.raises(ConfigError, match=r"version 1 or older, found version 2: a newer Escala"):
        opened()


def test_a_file_of_another_program_is_refused_and_left_alone(opened: Open, path: str) -> None:
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE theirs (a)")
    file.close()
    before = Path(path).read_bytes()
    with pytest.raises(ConfigError, match="an SQLite file of another program: name another file"):
        opened()
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_a_mark_alone_makes_it_anothers(opened: Open, path: str, pragma: str) -> None:
    file = sqlite3.connect(path)
    file.execute(f"PRAGMA {pragma}=7")
    file.close()
    with pytest.raises(ConfigError, match="of another program"):
        opened()


def test_the_file_says_what_it_is(opened: Open, path: str) -> None:
    opened()
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert file.execute("PRAGMA user_version").fetchone() == (VERSION,) == (1,)
    file.close()


def test_a_file_that_is_no_database_says_what_to_do(opened: Open, path: str) -> None:
    Path(path).write_bytes(b"nothing of the kind " * 100)
    with pytest.raises(StoreUnavailable, match=r"is damaged .* move it .* \.recover"):
        opened()


def test_a_damaged_page_says_what_to_do(opened: Open, path: str) -> None:
    journal = opened()
    for _ in range(50):
        journal.append(b"x" * 1000)
    journal.close()
    raw = bytearray(Path(path).read_bytes())
    raw[4096 * 3 : 4096 * 3 + 200] = bytes(200)
    Path(path).write_bytes(raw)
    with pytest.raises(StoreUnavailable, match="is damaged"):
        opened()


def test_a_changed_record_is_not_replayed(opened: Open, path: str) -> None:
    journal = opened()
    number = journal.append(b"right")
    journal.close()
    file = sqlite3.connect(path)
    with file:
        file.execute("UPDATE row SET body = ?", (b"wrong",))
    file.close()
    with pytest.raises(StoreUnavailable, match=f"row {number} is not what was written"):
        opened()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        Opened(f"{tmp_path}/none/wb.db").open()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://localhost", "expected a file such as 'sqlite:///wb.db'"),
        ("sqlite:///", "expected a file such as 'sqlite:///wb.db'"),
        ("sqlite:///wb.db?lease=0", "lease: expected a duration above zero"),
        ("sqlite:///wb.db?leese=1s", "leese"),
    ],
)
def test_urls_that_make_no_sense(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Journal(url)


def test_the_lease_comes_from_the_url() -> None:
    assert Journal("sqlite:///wb.db?lease=250ms").lease == 0.25
    assert Journal("sqlite:///wb.db").lease == 5.0


def test_this_process_opens_a_file_once(opened: Open) -> None:
    first = opened()
    with pytest.raises(JournalTaken, match="this process has it open"):
        opened()
    first.close()
    opened()


def test_what_is_not_open_takes_nothing(path: str) -> None:
    journal = Opened(path)
    with pytest.raises(JournalTaken, match="is not open"):
        journal.append(b"a")
    journal.open().close()
    with pytest.raises(JournalTaken, match="is closed"):
        journal.append(b"a")
    with pytest.raises(JournalTaken, match="is closed"):
        journal.commit()
    journal.close()


def test_who_has_been_replaced_writes_nothing(opened: Open, path: str) -> None:
    journal = opened()
    journal.append(b"a")
    file = sqlite3.connect(path)
    with file:
        file.execute("UPDATE owner SET token = token + 1")
    told: list[BaseException | None] = []
    with pytest.raises(JournalTaken, match=r"its token is 2, ours was 1.* nothing more is written"):
        journal.append(b"b", lambda _, error: told.append(error))
    assert isinstance(told[0], JournalTaken)
    for call in (lambda: journal.append(b"c"), journal.commit, lambda: journal.append(None)):
        with pytest.raises(JournalTaken, match="its token is 2"):
            call()
    with pytest.raises(JournalTaken, match="its token is 2"):
        drive(journal.journal.confirm(colours.thread))
    assert bodies(path) == [b"a"]
    journal.close()
    assert file.execute("SELECT held FROM owner").fetchone() == (1,), "it is not ours to release"
    file.close()


def test_a_full_disk_refuses_and_loses_nothing(opened: Open, path: str) -> None:
    journal = opened()
    kept = [journal.append(b"x" * 3000) for _ in range(5)]
    pages = journal.file._connection.execute("PRAGMA page_count").fetchone()[0]
    journal.file._connection.execute(f"PRAGMA max_page_count={pages}")
    told: list[tuple[int, BaseException | None]] = []
    refused = 0
    for _ in range(3):
        with pytest.raises(JournalFull, match="disk is full: make room; nothing was written"):
            journal.append(b"y" * 9000, lambda *outcome: told.append(outcome))
        refused += 1
    assert [(number, type(error)) for number, error in told] == [(0, JournalFull)] * refused
    assert bodies(path) == [b"x" * 3000] * 5
    assert journal.append(None) > kept[-1], "a number costs no room"
    journal.commit(dict.fromkeys(kept[:4]))
    journal.append(b"z")
    assert bodies(path) == [b"x" * 3000, b"z"]


def test_a_disk_that_is_full_to_the_last_block_still_knows_its_owner(opened: Open) -> None:
    journal = opened()
    write = journal.file.write

    def full(rows: Any, **options: Any) -> None:
        if rows:
            raise JournalFull("not one block")
        write(rows, **options)

    journal.file.write = full
    for call in (lambda: journal.append(b"a"), lambda: journal.commit({7: None}), journal.commit):
        with pytest.raises(JournalFull, match="not one block"):
            call()
    drive(journal.journal.confirm(colours.thread))
    assert journal.append(None) > 0
    journal.file.write = write
    journal.commit()
    assert journal.journal._owed == {}


def test_what_goes_makes_room_though_what_comes_is_refused(opened: Open, path: str) -> None:
    journal = opened()
    kept = journal.append(b"x" * 3000)
    pages = journal.file._connection.execute("PRAGMA page_count").fetchone()[0]
    journal.file._connection.execute(f"PRAGMA max_page_count={pages}")
    # In one commit: the thread is held up by the first, while the others gather behind it.
    hold, held = threading.Event(), threading.Event()

    def holding(*_: object) -> None:
        held.set()
        assert hold.wait(10)

    first = threading.Thread(target=journal.append, args=(None, holding))
    first.start()
    assert held.wait(10)
    journal.journal.change({kept: None})
    refused: list[Any] = []

    def too_large() -> None:
        try:
            journal.append(b"y" * 90_000)
        except JournalFull as error:
            refused.append(error)

    second = threading.Thread(target=too_large)
    second.start()
    while journal.journal._inbox.qsize() < 2:
        pass
    hold.set()
    first.join()
    second.join()
    assert len(refused) == 1
    assert bodies(path) == []


def test_what_goes_makes_room_for_what_comes_with_it(opened: Open, path: str) -> None:
    journal = opened()
    kept = journal.append(b"x" * 30_000)
    pages = journal.file._connection.execute("PRAGMA page_count").fetchone()[0]
    journal.file._connection.execute(f"PRAGMA max_page_count={pages}")
    journal.append(None, lambda *_: journal.journal.owe({kept: None}))
    journal.append(b"y" * 30_000)
    assert bodies(path) == [b"y" * 30_000]


def test_without_room_nothing_is_appended_but_what_goes_goes(
    opened: Open, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    kept = journal.append(b"x")
    journal.file._ballast.drop()
    monkeypatch.setattr(journal.file._ballast, "keep", lambda: False)
    with pytest.raises(JournalFull, match="make room; nothing was written"):
        journal.append(b"y")
    journal.commit({kept: None})
    assert bodies(path) == []
    monkeypatch.undo()
    journal.append(b"z")


def test_an_error_that_leaves_open_what_was_written_takes_it_back(opened: Open, path: str) -> None:
    journal = opened()
    write, calls = journal.file.write, 0

    def failing(rows: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        write(rows, **options)
        if calls == 1:
            raise StoreUnavailable("the sync failed, and yet it is there")

    journal.file.write = failing
    with pytest.raises(StoreUnavailable, match="the sync failed"):
        journal.append(b"a")
    assert bodies(path) == [b"a"]
    journal.append(b"b")
    assert bodies(path) == [b"b"]


def test_the_line_to_the_disk_is_bounded(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened()
    monkeypatch.setattr(journal_module, "_MOST_WAITING", 0)
    told: list[Any] = []
    with pytest.raises(JournalFull, match="0 records wait for the disk"):
        journal.append(b"a", lambda *outcome: told.append(outcome))
    assert told[0][0] == 0
    assert isinstance(told[0][1], JournalFull)


def test_who_is_called_by_the_journal_cannot_wait_for_it(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    shown: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.append(error))

    def waits(*_: object) -> None:
        journal.append(b"b")

    journal.append(b"a", waits)
    assert "cannot wait for the journal" in str(shown[0])
    journal.append(b"c")


def test_in_virtual_time_no_thread_is_needed(path: str) -> None:
    world = VirtualRuntime()

    async def main() -> None:
        journal = Journal(f"sqlite:///{path}")
        errors: list[BaseException | None] = []
        journal.open(lambda *_: None, errors.append)
        assert errors == [None]
        number = await journal.append(b"a", colours.loop)
        await journal.append(b"b", colours.loop)
        assert bodies(path) == [b"a", b"b"]
        journal.change({number: None})
        await journal.close(colours.loop)

    before = threading.active_count()
    world.run(main())
    assert threading.active_count() == before
    assert bodies(path) == [b"b"]
    world.close()

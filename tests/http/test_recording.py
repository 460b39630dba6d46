"""A body copied while it passes: what the reader gets, what the keeper gets, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.cache_world import Pipe

from escala.http.recording import Recording
from escala.http.stream import Stream
from escala.testing import VirtualRuntime


class Keeper:
    """Keeps up to `limit` bytes."""

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.reserved = 0
        self.ends: list[bytes | str] = []

    def reserve(self, held: int, more: int) -> bool:
        assert held == self.reserved
        if held + more > self.limit:
            return False
        self.reserved += more
        return True

    def release(self, size: int) -> None:
        self.reserved -= size

    def complete(self, body: bytes) -> None:
        self.ends.append(body)

    def outgrown(self) -> None:
        self.ends.append("outgrown")

    def broken(self) -> None:
        self.ends.append("broken")


class Setup:
    def __init__(self, limit: int = 100) -> None:
        self.pipe, self.keeper = Pipe(), Keeper(limit)
        self.inner = Stream(self.pipe)
        self.told: list[bool] = []
        self.inner.on_end = self.told.append
        self.recording = Recording(self.inner, self.keeper)

    async def rest(self) -> bytes:
        return b"".join([chunk async for chunk in self.recording])


def test_the_reader_gets_each_chunk_and_the_keeper_the_whole() -> None:
    setup = Setup()

    async def main() -> None:
        setup.inner.feed(b"one ")
        assert await setup.recording.read() == b"one "
        setup.inner.feed(b"two")
        assert setup.recording.take() == b"two"
        assert setup.keeper.reserved == 7
        assert setup.keeper.ends == []
        setup.inner.finish()
        assert await setup.recording.read() == b""

    VirtualRuntime().run(main())
    assert setup.keeper.ends == [b"one two"]
    assert setup.keeper.reserved == 0
    assert setup.told == [True]
    assert setup.recording.received == 7
    assert setup.recording.ended


def test_the_copy_is_complete_when_all_has_arrived_though_the_reader_is_slow() -> None:
    setup = Setup()

    async def main() -> None:
        setup.inner.feed(b"one ")
        setup.inner.feed(b"two")
        setup.inner.finish()
        assert setup.keeper.ends == [b"one two"]
        assert await setup.rest() == b"one two"

    VirtualRuntime().run(main())


def test_a_reader_that_waits_is_woken_by_the_end() -> None:
    world, setup = VirtualRuntime(), Setup()

    async def main() -> None:
        reading = world.spawn(setup.rest())
        await world.sleep(1)
        setup.inner.feed(b"a")
        setup.inner.finish()
        assert await reading == b"a"

    world.run(main())
    assert setup.keeper.ends == [b"a"]


def test_a_body_that_breaks_is_not_kept_and_the_reader_learns_of_it() -> None:
    setup = Setup()

    async def main() -> None:
        setup.inner.feed(b"some")
        setup.inner.fail(ConnectionResetError("gone"))
        assert await setup.recording.read() == b"some"
        with pytest.raises(ConnectionResetError):
            await setup.recording.read()

    VirtualRuntime().run(main())
    assert setup.keeper.ends == ["broken"]
    assert setup.told == [False]
    assert setup.keeper.reserved == 0


@pytest.mark.parametrize("how", ["discard", "aclose"])
def test_a_reader_that_goes_away_takes_the_connection_along(how: str) -> None:
    setup = Setup()

    async def main() -> None:
        setup.inner.feed(b"some")
        await setup.recording.read()
        if how == "discard":
            setup.recording.discard()
        else:
            await setup.recording.aclose()

    VirtualRuntime().run(main())
    assert setup.pipe.abandoned
    assert setup.keeper.ends == ["broken"]
    assert setup.keeper.reserved == 0


def test_a_reader_that_goes_away_after_the_end_loses_nothing_for_the_keeper() -> None:
    setup = Setup()
    setup.inner.feed(b"all")
    setup.inner.finish()
    setup.recording.discard()
    assert setup.recording.take() == b""
    assert setup.keeper.ends == [b"all"]
    assert not setup.pipe.abandoned


def test_what_is_too_much_is_given_up_once_and_goes_on_for_the_reader() -> None:
    setup = Setup(limit=5)

    async def main() -> None:
        setup.inner.feed(b"1234")
        assert await setup.recording.read() == b"1234"
        setup.inner.feed(b"56")
        assert await setup.recording.read() == b"56"
        assert setup.keeper.ends == ["outgrown"]
        assert setup.keeper.reserved == 0
        setup.inner.feed(b"78")
        setup.inner.finish()
        assert await setup.rest() == b"78"

    VirtualRuntime().run(main())
    assert setup.keeper.ends == ["outgrown"]


@pytest.mark.parametrize("whole", [True, False])
def test_who_listens_to_the_recording_learns_how_it_ended(whole: bool) -> None:
    setup = Setup()
    heard: list[bool] = []
    setup.recording.on_end = heard.append
    if whole:
        setup.inner.finish()
    else:
        setup.inner.fail(OSError())
    assert heard == setup.told == [whole]


def test_a_paused_body_is_paused() -> None:
    setup = Setup()
    assert not setup.recording.paused
    setup.inner.feed(b"x" * 1024 * 1024)
    assert setup.recording.paused
    assert not setup.recording.replayable


class Script:
    """Does to a recording what it is told, and remembers what went in and came out."""

    def __init__(self, limit: int) -> None:
        self.setup = Setup(limit)
        self.sent = self.got = b""
        self.finished = self.discarded = False

    def do(self, action: bytes | str) -> None:
        inner, recording = self.setup.inner, self.setup.recording
        if isinstance(action, bytes):
            if not inner.ended:
                inner.feed(action)
                self.sent += action
        elif action == "read":
            self.got += recording.take()
        elif action == "discard":
            self.discarded = True
            recording.discard()
        elif action == "finish":
            self.finished = self.finished or not inner.ended
            inner.finish()
        else:
            inner.fail(OSError())


actions = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=9), st.sampled_from(["read", "finish", "fail", "discard"])
    ),
    max_size=20,
)


@given(actions=actions, limit=st.integers(0, 40))
def test_the_keeper_gets_all_or_nothing_and_is_told_once(
    actions: list[bytes | str], limit: int
) -> None:
    script = Script(limit)
    for action in [*actions, "finish"]:
        script.do(action)
    if not script.discarded:
        script.do("read")
        assert script.got == script.sent
    assert script.sent.startswith(script.got)
    (end,) = script.setup.keeper.ends
    assert script.setup.keeper.reserved == 0
    assert end in (script.sent, "outgrown", "broken")
    if script.finished:
        assert end == (script.sent if len(script.sent) <= limit else "outgrown")
    else:
        assert isinstance(end, str)

"""A listening thread: what it tells of a wire that breaks, and that nothing ends it but `close`."""

from __future__ import annotations

import queue
import threading

import pytest

from escala.caching.listener import Listener
from escala.caching.value_store import Signal

pytestmark = pytest.mark.live

PATIENCE = 5.0
ANN = Signal("key", "ann")

Step = OSError | ValueError | tuple[list[Signal], bool] | None  # None: it opens, or waits


class Script:
    """Wires that do what is written: each its opening, then what it hears, an error at last."""

    transport = "script"

    def __init__(self, *wires: list[Step]) -> None:
        self.left = [list(steps) for steps in wires]
        self.closed = 0
        self.hung_up = threading.Event()

    def __call__(self, bound: float) -> Script:
        assert bound == Told.bound
        self.now = self.left.pop(0) if self.left else [None, None]
        return self

    def _next(self) -> tuple[list[Signal], bool]:
        step = self.now.pop(0) if self.now else None
        if isinstance(step, Exception):
            raise step
        if step is None:
            self.hung_up.wait(PATIENCE)
            raise ConnectionAbortedError
        return step

    def open(self) -> None:
        if self.now[0] is not None:
            self._next()
        else:
            self.now.pop(0)

    def hear(self) -> tuple[list[Signal], bool]:
        return self._next()

    def hang_up(self) -> None:
        self.hung_up.set()

    def close(self) -> None:
        self.closed += 1


class Told:
    bound = 0.7

    def __init__(self) -> None:
        self.words: queue.Queue[str] = queue.Queue()

    def heard(self, signals: list[Signal]) -> None:
        self.words.put(" ".join(signal.name for signal in signals))

    def lost(self) -> None:
        self.words.put("lost")

    def regained(self) -> None:
        self.words.put("regained")

    def next(self, count: int) -> list[str]:
        return [self.words.get(timeout=PATIENCE) for _ in range(count)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    kinds: list[type[BaseException]] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, *_: kinds.append(kind))
    return kinds


def listening(script: Script) -> tuple[Listener, Told]:
    listener, told = Listener(script, "orders"), Told()
    listener.listen(told)
    return listener, told


def test_it_tells_what_it_hears_and_then_what_it_missed() -> None:
    script = Script([None, ([], False), ([ANN], False), ([ANN], True), ([], True)])
    listener, told = listening(script)
    assert told.next(6) == ["lost", "regained", "ann", "ann", "regained", "regained"]
    assert listener.transport == "script"
    listener.close()


def test_a_wire_that_breaks_is_lost_once_until_another_is_open() -> None:
    broken, refused = ConnectionResetError(), ConnectionRefusedError()
    script = Script([None, broken], [refused], [refused], [None, ([ANN], False)])
    listener, told = listening(script)
    assert told.next(5) == ["lost", "regained", "lost", "regained", "ann"]
    assert script.closed == 3
    listener.close()


def test_a_bug_of_its_own_is_shown_and_does_not_end_it(
    shown: list[type[BaseException]],
) -> None:
    listener, told = listening(Script([None, ValueError()], [None, ([ANN], False)]))
    assert told.next(5) == ["lost", "regained", "lost", "regained", "ann"]
    assert shown == [ValueError]
    listener.close()


def test_after_close_no_one_is_told() -> None:
    script = Script([None])
    listener, told = listening(script)
    assert told.next(2) == ["lost", "regained"]
    listener.close()
    listener.close()
    for thread in threading.enumerate():
        if thread.name == "orders-ear":
            thread.join(PATIENCE)
    assert script.closed == 1
    assert told.words.empty()
    assert listener.transport == ""


def test_it_has_one_ear() -> None:
    listener, _ = listening(Script([None]))
    with pytest.raises(RuntimeError, match="one ear"):
        listener.listen(Told())
    listener.close()

"""`Hedge` in sync code: copies in a few threads, and none where there is no thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from escala.errors import DeadlineExceeded
from escala.kernel.context import deadline
from escala.kernel.events import Event
from escala.kernel.stack import Stack
from escala.resilience import Deadline, Hedge, Hedged, RetryBudget
from escala.resilience.spare_threads import SpareThreads

SOON = 5.0
FREE: dict[str, Any] = {"budget": None}
where: ContextVar[str] = ContextVar("where", default="outside")


class Gated:
    """A sync function whose nth call waits for the nth gate before it ends as it is told."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = outcomes
        self.gates = [threading.Event() for _ in outcomes]
        self.began = [threading.Event() for _ in outcomes]
        self.ended = [threading.Event() for _ in outcomes]
        self.threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            number = len(self.threads)
            self.threads.append(threading.current_thread())
        self.began[number].set()
        self.gates[number].wait(SOON)
        self.ended[number].set()
        outcome = self.outcomes[number]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def joined(threads: list[threading.Thread], wanted: Callable[[], bool]) -> bool:
    """Whether it comes true while threads go on; no clock is asked."""
    for _ in range(1_000_000):
        if wanted():
            return True
        for thread in threads:
            thread.join(0)
    return False


def test_the_copy_answers_while_the_call_still_runs(events: list[Event]) -> None:
    dropped: list[Any] = []
    fn = Gated("slow", "quick")
    fn.gates[1].set()
    hedge = Hedge("1ms", budget=RetryBudget("0%", floor=1), discard=dropped.append)
    assert hedge.call(fn) == "quick"
    assert not fn.ended[0].is_set(), "a thread cannot be interrupted"
    assert [type(event) for event in events] == [Hedged]
    assert threading.current_thread() not in fn.threads
    assert hedge.snapshot()["won"] == 1.0
    fn.gates[0].set()
    assert joined(fn.threads, lambda: dropped == ["slow"])
    assert hedge.budget is not None
    assert joined(fn.threads, lambda: hedge.budget is not None and hedge.budget.under_way == 0)


def test_the_call_itself_may_still_win_and_the_copys_answer_is_let_go() -> None:
    dropped: list[Any] = []
    fn = Gated("own", "copy")

    def let_go() -> None:
        fn.began[1].wait(SOON)
        fn.gates[0].set()

    helper = threading.Thread(target=let_go)
    helper.start()
    assert Hedge("1ms", discard=dropped.append, **FREE).call(fn) == "own"
    helper.join()
    fn.gates[1].set()
    assert joined(fn.threads, lambda: dropped == ["copy"])


def test_a_late_error_harms_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error))
    hedge = Hedge("1ms", **FREE)
    fn = Gated(ValueError("late"), "quick")
    fn.gates[1].set()
    assert hedge.call(fn) == "quick"
    fn.gates[0].set()
    assert joined(fn.threads, fn.ended[0].is_set)
    assert hedge.call(str, 7) == "7"
    assert shown == []


def test_when_both_fail_the_error_is_that_of_the_call_itself() -> None:
    own = ConnectionError("own")
    fn = Gated(own, OSError("copy"))
    fn.gates[1].set()

    def let_go() -> None:
        fn.ended[1].wait(SOON)
        fn.gates[0].set()

    helper = threading.Thread(target=let_go)
    helper.start()
    with pytest.raises(ConnectionError) as caught:
        Hedge("1ms", **FREE).call(fn)
    helper.join()
    assert caught.value is own


def test_what_a_sync_iterator_raises_passes() -> None:
    with pytest.raises(StopIteration):
        Hedge("1s", **FREE).call(next, iter(()))


def test_without_a_free_thread_the_call_runs_in_its_callers_and_alone(
    events: list[Event],
) -> None:
    hedge = Hedge("1ms", threads=1, **FREE)
    busy = Gated("busy")
    caller = threading.Thread(target=hedge.call, args=(busy,))
    caller.start()
    assert busy.began[0].wait(SOON)
    assert hedge.call(threading.current_thread) is threading.current_thread()
    busy.gates[0].set()
    caller.join()
    assert events == [], "the first had no thread for its copy either"


def test_no_budget_is_kept_for_a_copy_that_finds_no_thread(
    monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    asked = threading.Event()
    hand_over = SpareThreads.hand_over

    def watched(self: SpareThreads, run: Callable[[], None]) -> bool:
        done = hand_over(self, run)
        if not done:
            asked.set()
        return done

    monkeypatch.setattr(SpareThreads, "hand_over", watched)
    budget, fn = RetryBudget("100%"), Gated("alone")
    hedge = Hedge("1ms", threads=1, budget=budget)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(hedge.call(fn)))
    caller.start()
    assert asked.wait(SOON), "the copy found no thread"
    fn.gates[0].set()
    caller.join()
    assert answers == ["alone"]
    assert budget.under_way == 0
    assert hedge.snapshot()["copies"] == 0.0
    assert events == []


def test_a_deadline_ends_the_wait_and_is_inherited() -> None:
    fn, seen = Gated("late", "late"), list[float]()

    def call() -> Any:
        seen.append(deadline())
        return fn()

    stack = Stack(Deadline("20ms"), Hedge("1ms", **FREE))
    with pytest.raises(DeadlineExceeded, match=r"^deadline: "):
        stack.call(call)
    assert len(set(seen)) == 1
    for gate in fn.gates:
        gate.set()


def test_copies_have_a_copy_of_the_context() -> None:
    def call() -> str:
        found = where.get()
        where.set("copy")
        return found

    token = where.set("caller")
    assert Hedge("1s", **FREE).call(call) == "caller"
    assert where.get() == "caller"
    where.reset(token)


def test_inside_a_running_loop_a_sync_call_runs_alone() -> None:
    async def main() -> threading.Thread:
        return Hedge("1ms", **FREE).call(threading.current_thread)

    assert asyncio.run(main()) is threading.current_thread()


def test_an_async_function_is_refused_as_ever() -> None:
    async def fn() -> None: ...

    with pytest.raises(TypeError, match="give it to `acall`"):
        Hedge("1s", **FREE).call(fn)  # type: ignore[unused-coroutine]


def test_many_threads_at_once_each_get_their_own_answer() -> None:
    hedge = Hedge("1ms", threads=6, budget="50%")
    answers: dict[int, int] = {}

    def caller(number: int) -> None:
        for step in range(200):
            answers[number * 1000 + step] = hedge.call(lambda value: value, number * 1000 + step)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert len(answers) == 1600
    assert all(key == value for key, value in answers.items())
    assert hedge.budget is not None
    assert joined([], lambda: hedge.budget is not None and hedge.budget.under_way == 0)

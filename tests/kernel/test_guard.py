"""A Guard: every way to use it takes the same steps, whether with a coroutine or without."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from tests.kernel.policies import Again, Told

from escala.kernel.guard import Guard, in_steps
from escala.kernel.policy import Next, Packed, Policy
from escala.kernel.runtime import Runtime, colours
from escala.kernel.stack import Stack
from escala.testing import VirtualRuntime
from escala.testing.cancelling import Trial, cancel_everywhere

T = TypeVar("T")


class Gate(Guard[int]):
    """Numbers its calls, and writes into `log` how they fare; each waits for `waits` seconds."""

    def __init__(
        self, log: list[str] | None = None, *, waits: float = 0, shut: bool = False, name: str = ""
    ) -> None:
        self.log: list[str] = [] if log is None else log
        self.waits, self.shut, self.name, self.calls = waits, shut, name, 0

    def enter(self, runtime: Runtime) -> int | Coroutine[Any, Any, int]:
        if self.shut:
            raise PermissionError("shut")
        return self._later(runtime) if self.waits else self._number()

    async def _later(self, runtime: Runtime) -> int:
        try:
            await runtime.sleep(self.waits)
        except BaseException:
            self.log.append(f"{self.name}gave up")
            raise
        return self._number()

    def _number(self) -> int:
        self.calls += 1
        self.log.append(f"{self.name}{self.calls} in")
        return self.calls

    def passed(self, permit: int, answer: object, runtime: Runtime) -> None:
        self.log.append(f"{self.name}{permit} {answer}")
        if answer == "bad":
            raise LookupError("the answer is bad")

    def failed(self, permit: int, error: BaseException, runtime: Runtime) -> None:
        self.log.append(f"{self.name}{permit} {type(error).__name__}")
        if isinstance(error, KeyError):
            raise LookupError("in other words") from error  # noqa: TRY004


def _decorated(policy: Policy, fn: Callable[[], T]) -> T:
    return policy(fn)()


def _called(policy: Policy, fn: Callable[[], T]) -> T:
    return policy.call(fn)


def _in_a_block(policy: Policy, fn: Callable[[], T]) -> T:
    with policy:
        return fn()
    raise AssertionError("the block swallowed an error")


def _stacked(policy: Policy, fn: Callable[[], T]) -> T:
    return Stack(Stack(policy))(fn)()


def _awaited(use: Callable[[Policy, Any], Awaitable[T]]) -> Callable[[Policy, Callable[[], T]], T]:
    @functools.wraps(use)
    def run(policy: Policy, fn: Callable[[], T]) -> T:
        async def afn() -> T:
            return fn()

        async def main() -> T:
            return await use(policy, afn)

        return VirtualRuntime().run(main())

    return run


@_awaited
async def _adecorated(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    return await policy(fn)()


@_awaited
async def _acalled(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    return await policy.acall(fn)


@_awaited
async def _in_an_async_block(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    async with policy:
        return await fn()
    raise AssertionError("the block swallowed an error")


@_awaited
async def _astacked(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    return await Stack(Stack(policy))(fn)()


NO_BLOCKS = [_decorated, _called, _stacked, _adecorated, _acalled, _astacked]
every_way = pytest.mark.parametrize("use", NO_BLOCKS, ids=lambda use: use.__name__)
also_blocks = pytest.mark.parametrize(
    "use", [*NO_BLOCKS, _in_a_block, _in_an_async_block], ids=lambda use: use.__name__
)
Use = Callable[[Policy, Callable[[], Any]], Any]


@every_way
def test_it_is_told_the_answer_and_its_own_permit(use: Use) -> None:
    gate = Gate()
    assert [use(gate, lambda: "tea"), use(gate, lambda: "cup")] == ["tea", "cup"]
    assert gate.log == ["1 in", "1 tea", "2 in", "2 cup"]


@also_blocks
def test_it_is_told_the_error_which_comes_through_as_itself(use: Use) -> None:
    gate, error = Gate(), ValueError("mine")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError) as caught:
        use(gate, fail)
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None
    assert gate.log == ["1 in", "1 ValueError"]


@also_blocks
def test_it_may_raise_another_error_instead(use: Use) -> None:
    gate = Gate()
    with pytest.raises(LookupError, match="in other words") as caught:
        use(gate, lambda: {"tea": 1}["cup"])
    assert isinstance(caught.value.__cause__, KeyError)
    assert gate.log == ["1 in", "1 KeyError"]


@every_way
def test_what_it_raises_after_an_answer_is_not_its_own_failure(use: Use) -> None:
    gate, outer = Gate(), Gate(name="outer ")
    outer.log = gate.log
    with pytest.raises(LookupError, match="the answer is bad"):
        use(Stack(outer, gate), lambda: "bad")
    assert gate.log == ["outer 1 in", "1 in", "1 bad", "outer 1 LookupError"]


@also_blocks
def test_a_refused_call_is_not_made_and_has_no_end(use: Use) -> None:
    gate, inner = Gate(shut=True), Gate()
    with pytest.raises(PermissionError):
        use(Stack(gate, inner), lambda: pytest.fail("was called"))
    assert gate.log == inner.log == []


def test_both_colours_wait_to_be_let_in() -> None:
    world, gate = VirtualRuntime(), Gate(waits=2)

    async def moment() -> float:
        return world.now()

    async def main() -> None:
        begun = world.now()
        assert gate(world.now)() == gate.call(world.now) - 2 == begun + 2
        assert await gate(moment)() == await gate.acall(moment) - 2 == begun + 6
        assert Stack(gate, gate)(world.now)() == begun + 12
        assert await Stack(gate, gate)(moment)() == begun + 16

    world.run(main())
    assert gate.calls == 8
    assert len(gate.log) == 16


@pytest.mark.parametrize(
    "use", [lambda gate, fn: gate(fn)(), lambda gate, fn: gate.acall(fn)], ids=range(2)
)
def test_a_cancelled_call_has_ended_and_a_cancelled_wait_never_began(
    use: Callable[[Policy, Any], Coroutine[Any, Any, None]],
) -> None:
    async def scenario(trial: Trial) -> None:
        gate = Gate(waits=1)

        async def work() -> None:
            await colours.loop.sleep(1)

        task = trial.victim(use(gate, work))
        await asyncio.wait([task])
        if task.cancelled():
            assert gate.log in ([], ["gave up"], ["1 in", "1 CancelledError"])
        else:
            assert gate.log == ["1 in", "1 None"]

    assert cancel_everywhere(scenario) > 1


def test_guards_and_others_nest_in_any_order() -> None:
    log: list[str] = []
    a, b, c = Gate(log, name="a"), Told(log, "b"), Gate(log, name="c")
    stack = Stack(a, Again(2), Stack(b, c))
    once = ["b begins", "c1 in", "c1 tea", "b ends"]
    again = ["b begins", "c2 in", "c2 tea", "b ends"]
    for use in (_decorated, _called, _adecorated, _acalled):
        log.clear()
        a.calls = c.calls = 0
        assert use(stack, lambda: "tea") == "tea"
        assert log == ["a1 in", *once, *again, "a1 tea"]


@pytest.mark.parametrize(
    "wrap", [lambda gate: gate, lambda gate: Stack(gate, Again(1), gate)], ids=range(2)
)
def test_an_iterator_may_be_guarded(wrap: Callable[[Gate], Policy]) -> None:
    def end() -> None:
        raise StopIteration("last words")

    gate = Gate()
    with pytest.raises(StopIteration, match="last words") as caught:
        wrap(gate)(end)()
    assert caught.value.__cause__ is None
    assert gate.log[-1].startswith("1 ")


@pytest.mark.parametrize("wrap", [lambda gate: gate, Stack])
def test_a_sync_function_that_returns_a_coroutine_is_refused(
    wrap: Callable[[Gate], Policy],
) -> None:
    async def late() -> None: ...

    def fn() -> object:
        return late()

    with pytest.raises(TypeError, match=r"returned a coroutine.*decorate the `async def`"):
        wrap(Gate())(fn)()


def test_the_runtime_is_the_one_of_the_moment() -> None:
    seen: list[Runtime] = []

    class Seen(Gate):
        def enter(self, runtime: Runtime) -> int:
            seen.append(runtime)
            return 0

        def passed(self, permit: int, answer: object, runtime: Runtime) -> None:
            seen.append(runtime)

    async def nothing() -> None: ...

    guarded, aguarded = Seen()(lambda: None), Seen()(nothing)
    guarded()
    world = VirtualRuntime()

    async def main() -> None:
        guarded()
        await aguarded()

    world.run(main())
    assert seen[0] is seen[1] is colours.thread
    assert seen[2] is seen[3] is not colours.thread
    assert seen[4] is seen[5] is world


class Own(Gate):
    """Does something of its own around what a gate does."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        self.log.append("own")
        return await super().around(call, runtime)


@every_way
def test_an_around_of_its_own_is_what_runs(use: Use) -> None:
    own = Own()
    assert use(own, lambda: "tea") == "tea"
    assert own.log == ["own", "1 in", "1 tea"]


class OnTheLoop(Gate):
    """Takes the steps in sync code, and more than them on a loop."""

    @in_steps
    async def around(self, call: Next[T], runtime: Runtime) -> T:
        self.log.append("on the loop")
        return await super().around(call, runtime)


def test_an_around_that_is_marked_runs_on_a_loop_only() -> None:
    sync, on_loop = ["1 in", "1 tea"], ["on the loop", "1 in", "1 tea"]
    for use, log in ((_decorated, sync), (_stacked, sync), (_adecorated, on_loop)):
        gate = OnTheLoop()
        assert use(gate, lambda: "tea") == "tea"
        assert gate.log == log


class ByItself(Told):
    """Knows how to surround sync code without a coroutine."""

    def within_sync(self, call: Packed) -> Packed:
        def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            self.log.append(f"{self.name} begins")
            answer = call(args, kwargs)
            self.log.append(f"{self.name} ends")
            return answer

        return guarded


@every_way
def test_guards_and_others_keep_their_places(use: Use) -> None:
    kinds: list[Callable[[list[str], str], Policy]] = [
        Told,
        ByItself,
        lambda log, name: Gate(log, name=name),
    ]
    for order in itertools.product(kinds, repeat=4):
        log: list[str] = []
        stack = Stack(*(make(log, name) for name, make in zip("abcd", order, strict=True)))
        assert use(stack, lambda: "tea") == "tea"
        assert [line[0] for line in log] == list("abcddcba")


def test_neighbours_that_need_a_coroutine_are_driven_together() -> None:
    entered: list[int] = []

    class Deep(Told):
        async def around(self, call: Next[T], runtime: Runtime) -> T:
            entered.append(sum(frame.function == "drive" for frame in inspect.stack(0)))
            return await super().around(call, runtime)

    def drives(*policies: Policy) -> list[int]:
        entered.clear()
        assert Stack(*policies)(lambda: "tea")() == "tea"
        return list(entered)

    assert drives(Deep(), Deep(), Deep()) == [1, 1, 1]
    assert drives(Deep(), Gate(), Deep(), Deep()) == [1, 2, 2]
    assert drives(Gate(), Deep(), Own(), Deep()) == [1, 1]
    assert drives(Deep(), ByItself(), Deep(), Gate()) == [1, 2]

"""A Stack: its order, and that it is a policy like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.policies import Again, Answer, Refuse, Slot, Slow, Swallow, Told, Translate

from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.testing import VirtualRuntime


async def greet(name: str) -> str:
    return f"hello {name}"


def around(*names: str) -> list[str]:
    return [*(f"{name} begins" for name in names), *(f"{name} ends" for name in reversed(names))]


def test_an_empty_stack_only_calls() -> None:
    world, stack = VirtualRuntime(), Stack()
    assert stack.call(len, "abc") == 3
    assert stack(len)("abc") == 3
    with stack:
        pass

    async def main() -> str:
        async with stack:
            pass
        return await stack.acall(greet, "all")

    assert world.run(main()) == "hello all"
    assert stack.repeats is False


def test_the_first_is_the_outermost() -> None:
    log: list[str] = []
    stack = Stack(Told(log, "a"), Told(log, "b"), Told(log, "c"))
    assert stack.call(len, "abc") == 3
    assert log == around("a", "b", "c")
    log.clear()
    assert VirtualRuntime().run(stack(greet)("all")) == "hello all"
    assert log == around("a", "b", "c")


def test_a_stack_nests_in_any_place() -> None:
    log: list[str] = []
    a, b, c, d = (Told(log, name) for name in "abcd")
    for stack in (
        Stack(Stack(a, b), Stack(), Stack(c, d)),
        Stack(a, Stack(b, Stack(c, Stack(d)))),
        Stack(Stack(Stack(Stack(a), b), c), d),
        Stack(a) | b | Stack(c, d),
        Stack() | a | b | c | d,
    ):
        log.clear()
        assert stack.call(len, "abc") == 3
        assert log == around("a", "b", "c", "d")


def test_or_makes_a_new_stack() -> None:
    one = Stack(Told(name="a"))
    two = one | Told(name="b")
    assert (repr(one), repr(two)) == ("Stack(Told(a))", "Stack(Told(a), Told(b))")


def test_one_policy_may_stand_in_many_stacks_and_twice_in_one() -> None:
    slot = Slot()
    seen: list[int] = []
    Stack(slot, Stack(slot), slot).call(lambda: seen.append(slot.taken))
    Stack(slot).call(lambda: seen.append(slot.taken))
    assert seen == [3, 1]
    assert slot.taken == 0


def test_repr_reads_as_it_was_written() -> None:
    assert repr(Stack()) == "Stack()"
    stack = Stack(Told(name="a"), Stack(Told(name="b")), Told(name="c"))
    assert repr(stack) == "Stack(Told(a), Stack(Told(b)), Told(c))"


@pytest.mark.parametrize("wrong", [Told, None, "retry", [Told()], len], ids=range(5))
def test_what_is_no_policy_is_refused(wrong: Policy) -> None:
    for make in (lambda: Stack(wrong), lambda: Stack(Told(), wrong), lambda: Stack() | wrong):
        with pytest.raises(TypeError, match="outermost first; found"):
            make()


def test_it_repeats_when_one_of_its_policies_does() -> None:
    assert Stack(Told(), Again(2)).repeats
    assert Stack(Stack(Again(2))).repeats
    assert not Stack(Told(), Stack(Slot())).repeats


def test_what_is_inside_a_repeating_policy_is_repeated() -> None:
    log: list[str] = []
    Stack(Told(log, "once"), Again(2), Told(log, "twice")).call(len, "abc")
    twice = ["twice begins", "twice ends"]
    assert log == ["once begins", *twice, *twice, "once ends"]


def test_answers_refusals_and_errors_are_seen_by_those_further_out_only() -> None:
    log: list[str] = []
    outer, inner = Told(log, "outer"), Told(log, "inner")
    assert str(Stack(outer, Answer(), inner).call(len, "abc")) == "from the cache"
    assert log == around("outer")
    log.clear()
    with pytest.raises(PermissionError):
        Stack(outer, Refuse(), inner).call(len, "abc")
    assert log == ["outer begins", "outer saw PermissionError"]
    log.clear()
    with pytest.raises(LookupError):
        Stack(outer, Translate(), inner).call(int, "no number")
    assert log[-2:] == ["inner saw ValueError", "outer saw LookupError"]
    log.clear()
    assert Stack(outer, Swallow(), inner).call(int, "no number") is None
    assert log[-2:] == ["inner saw ValueError", "outer ends"]


POLICIES: list[Callable[[list[str]], Policy]] = [
    Told,
    lambda _: Slot(),
    lambda _: Slow(1, 1),
    lambda _: Again(2),
    lambda _: Swallow(),
    lambda _: Translate(),
    lambda _: Refuse(),
    lambda _: Answer(),
]
SHAPES = st.lists(st.integers(0, len(POLICIES) - 1), max_size=6)


def _nested(policies: list[Policy]) -> Stack:
    return Stack(policies[0], _nested(policies[1:])) if policies else Stack()


@given(SHAPES, st.booleans(), st.integers(0, 3))
def test_both_colours_and_any_nesting_do_the_same(shape: list[int], fails: bool, seed: int) -> None:
    outcomes = []
    for nest in (lambda policies: Stack(*policies), _nested):
        for sync in (True, False):
            log: list[str] = []
            stack = nest([POLICIES[at](log) for at in shape])
            outcomes.append((_outcome(stack, log, fails=fails, sync=sync, seed=seed), log))
    assert outcomes[0] == outcomes[1] == outcomes[2] == outcomes[3]


def _outcome(stack: Stack, log: list[str], *, fails: bool, sync: bool, seed: int) -> object:
    world = VirtualRuntime(seed)

    def leaf() -> str:
        log.append("called")
        if fails:
            raise ValueError
        return "answer"

    async def aleaf() -> str:
        return leaf()

    async def main() -> object:
        try:
            return stack.call(leaf) if sync else await stack.acall(aleaf)
        except (ValueError, LookupError, PermissionError) as error:
            return type(error)

    return world.run(main()), world.now()


def test_cancellation_passes_every_policy() -> None:
    world, slots = VirtualRuntime(), [Slot() for _ in range(4)]
    stack = Stack(slots[0], Slow(2, 2), slots[1], Stack(slots[2], Slow(2, 2)), slots[3])

    async def main() -> None:
        for moment in (1, 3, 5, 9, 11):
            task = asyncio.create_task(stack.acall(world.sleep, 4))
            await world.sleep(moment)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert [slot.taken for slot in slots] == [0, 0, 0, 0]

    world.run(main())

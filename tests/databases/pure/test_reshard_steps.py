"""The steps of a move: every way through them, with coordinators that die in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.reshard_steps import (
    Action,
    Command,
    State,
    found,
    refusal,
    step,
)

ENDS = {
    Command.RUN: {State.READY, State.MOVED},
    Command.CUTOVER: {State.MOVED},
    Command.REVERSE: {State.FOLLOWING, State.READY},
    Command.COMPLETE: {State.DONE},
    Command.ABORT: {State.UNDONE},
}
DECIDED = {State.CUT: State.MOVED, State.CUT_BACK: State.FOLLOWING}
HAPPY = [
    (Command.RUN, [Action.MARK, Action.STREAM, Action.FOLLOW, Action.VERIFY]),
    (Command.CUTOVER, [Action.CUT, Action.SETTLE]),
    (Command.REVERSE, [Action.CUT, Action.SETTLE]),
    (Command.RUN, [Action.VERIFY]),
    (Command.CUTOVER, [Action.CUT, Action.SETTLE]),
    (Command.COMPLETE, [Action.TURN_TO_CLEANING, Action.CLEAN]),
]


class Move:
    """Slots, the map that says who has them, and what was written down."""

    def __init__(self) -> None:
        self.written, self.moved = State.PLANNED, False

    def give(self, command: Command, dies_after: int | None = None) -> list[Action]:
        """The steps of a command; a coordinator may die after one, before it is written down."""
        state = found(self.written, moved=self.moved)
        assert refusal(state, command) is None
        done: list[Action] = []
        while (due := step(state, command)) is not None:
            if due.action is Action.CUT:
                self.moved = due.after is State.CUT
            done.append(due.action)
            if len(done) == dies_after:
                return done
            self.written = state = due.after
        return done


def test_there_and_back_and_there_again() -> None:
    move = Move()
    for command, actions in HAPPY:
        assert move.give(command) == actions
        assert move.give(command) == [], f"{command} again does nothing"
    assert move.written is State.DONE


@pytest.mark.parametrize("runs", range(6), ids=str)
def test_what_is_not_cut_over_can_be_aborted(runs: int) -> None:
    move = Move()
    if runs:
        move.give(Command.RUN, dies_after=runs)
    assert move.give(Command.ABORT) == [Action.TURN_TO_UNDOING, Action.UNDO]
    assert move.written is State.UNDONE


@given(st.lists(st.tuples(st.sampled_from(Command), st.integers(0, 5)), max_size=30))
def test_a_command_given_again_ends_as_if_no_one_had_died(
    commands: list[tuple[Command, int]],
) -> None:
    calm, troubled = Move(), Move()
    for command, dies_after in commands:
        state = found(calm.written, moved=calm.moved)
        why = refusal(state, command)
        assert why == refusal(found(troubled.written, moved=troubled.moved), command)
        if why is not None:
            continue
        calm.give(command)
        if dies_after:
            troubled.give(command, dies_after)
        troubled.give(command)
        assert (troubled.written, troubled.moved) == (calm.written, calm.moved)
        assert calm.written in ENDS[command]
        assert calm.moved == (calm.written in {State.MOVED, State.CLEANING, State.DONE})


@pytest.mark.parametrize("command", Command, ids=str)
@pytest.mark.parametrize("state", State, ids=str)
def test_every_command_is_taken_or_refused_with_a_reason(state: State, command: Command) -> None:
    why = refusal(state, command)
    if why is not None:
        assert why.startswith("is ")
        return
    seen = {state}
    while (due := step(state, command)) is not None:
        state = due.after
        assert state not in seen, "steps never go round"
        seen.add(state)
    assert state in ENDS[command]


@pytest.mark.parametrize(
    ("state", "command", "hint"),
    [
        (State.PLANNED, Command.CUTOVER, "run it first"),
        (State.MARKED, Command.CUTOVER, "run it first"),
        (State.COPYING, Command.CUTOVER, "run it first"),
        (State.FOLLOWING, Command.CUTOVER, "not verified"),
        (State.CUT_BACK, Command.CUTOVER, "not verified"),
        (State.COPYING, Command.REVERSE, "not copied"),
        (State.READY, Command.COMPLETE, "not cut over"),
        (State.MOVED, Command.ABORT, "reverse it first"),
        (State.CUT, Command.ABORT, "reverse it first"),
        (State.CLEANING, Command.REVERSE, "nothing can undo"),
        (State.CLEANING, Command.RUN, "nothing can undo"),
        (State.UNDOING, Command.RUN, "abort it again"),
        (State.UNDOING, Command.COMPLETE, "abort it again"),
        (State.DONE, Command.REVERSE, "completed"),
        (State.UNDONE, Command.RUN, "aborted"),
    ],
    ids=str,
)
def test_what_is_refused_says_what_to_do(state: State, command: Command, hint: str) -> None:
    assert hint in (refusal(state, command) or "")


@pytest.mark.parametrize("state", State, ids=str)
def test_only_a_decision_changes_what_was_written_down(state: State) -> None:
    ahead = State.CUT if state is State.READY else state
    behind = State.CUT_BACK if state is State.MOVED else state
    assert found(state, moved=True) is ahead
    assert found(state, moved=False) is behind


@pytest.mark.parametrize("command", Command, ids=str)
@pytest.mark.parametrize(("state", "after"), DECIDED.items(), ids=str)
def test_a_decision_is_settled_whatever_is_asked(
    state: State, after: State, command: Command
) -> None:
    assert step(state, command) == (Action.SETTLE, after)
    assert refusal(state, command) == refusal(after, command)

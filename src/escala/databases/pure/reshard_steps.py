"""What comes next for slots on their way to another shard, and what may no longer be done."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How far the slots have come."""

    PLANNED = "planned"
    MARKED = "marked"
    COPYING = "copying"
    FOLLOWING = "following"
    READY = "ready"
    CUT = "cut over"
    MOVED = "moved"
    CUT_BACK = "cut back"
    CLEANING = "cleaning"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class Command(StrEnum):
    """What an operator asks for."""

    RUN = "run"
    CUTOVER = "cutover"
    REVERSE = "reverse"
    COMPLETE = "complete"
    ABORT = "abort"


class Action(StrEnum):
    """What is done to get to the next state; each may be done again after half of it was done."""

    MARK = "mark"
    STREAM = "stream"
    FOLLOW = "follow"
    VERIFY = "verify"
    CUT = "cut"
    SETTLE = "settle"
    TURN_TO_CLEANING = "turn to cleaning"
    CLEAN = "clean"
    TURN_TO_UNDOING = "turn to undoing"
    UNDO = "undo"


class Step(NamedTuple):
    """What to do, and the state after it."""

    action: Action
    after: State


_SETTLE: dict[State, Step | None] = {
    State.CUT: Step(Action.SETTLE, State.MOVED),
    State.CUT_BACK: Step(
        Action.SETTLE, State.FOLLOWING
    ),  # to be compared anew before it moves again
}
_UNDO = Step(Action.TURN_TO_UNDOING, State.UNDOING)
_STEPS: dict[Command, dict[State, Step | None]] = {
    Command.RUN: {
        State.PLANNED: Step(Action.MARK, State.MARKED),
        State.MARKED: Step(Action.STREAM, State.COPYING),
        State.COPYING: Step(Action.FOLLOW, State.FOLLOWING),
        State.FOLLOWING: Step(Action.VERIFY, State.READY),
        State.READY: None,
        State.MOVED: None,
    },
    Command.CUTOVER: {State.READY: Step(Action.CUT, State.CUT), State.MOVED: None},
    Command.REVERSE: {
        State.MOVED: Step(Action.CUT, State.CUT_BACK),
        State.FOLLOWING: None,
        State.READY: None,
    },
    Command.COMPLETE: {
        State.MOVED: Step(Action.TURN_TO_CLEANING, State.CLEANING),
        State.CLEANING: Step(Action.CLEAN, State.DONE),
        State.DONE: None,
    },
    Command.ABORT: {
        State.PLANNED: _UNDO,
        State.MARKED: _UNDO,
        State.COPYING: _UNDO,
        State.FOLLOWING: _UNDO,
        State.READY: _UNDO,
        State.UNDOING: Step(Action.UNDO, State.UNDONE),
        State.UNDONE: None,
    },
}
_INSTEAD = {
    State.PLANNED: "is not copied yet: run it first",
    State.MARKED: "is not copied yet: run it first",
    State.COPYING: "is not copied yet: run it first",
    State.FOLLOWING: "is not verified yet: run it first",
    State.READY: "is not cut over yet",
    State.MOVED: "is cut over: reverse it first, or complete it",
    State.CLEANING: "is being completed, which nothing can undo: complete it",
    State.DONE: "is completed: complete the others",
    State.UNDOING: "is being aborted: abort it again",
    State.UNDONE: "is aborted: abort the others",
}


def found(state: State, *, moved: bool) -> State:
    """The state of which `state` was written down, given who has the slots by the map.

    The map decides: a coordinator that died right after a cutover did not write it down.
    """
    if moved and state is State.READY:
        return State.CUT
    if not moved and state is State.MOVED:
        return State.CUT_BACK
    return state


def step(state: State, command: Command) -> Step | None:
    """The next step; None where the command has nothing (more) to do.

    A decision that was made is settled first, whatever is asked for.
    """
    return _SETTLE.get(state) or _STEPS[command][state]


def refusal(state: State, command: Command) -> str | None:
    """Why the command cannot be given now, as the end of a sentence; None if it can."""
    due = _SETTLE.get(state)
    settled = due.after if due else state
    return None if settled in _STEPS[command] else _INSTEAD[settled]

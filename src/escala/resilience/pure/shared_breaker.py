"""One circuit breaker in many processes: what each asks a common store, and makes of its answer."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

from escala.resilience.pure.breaker import BreakerMachine, BreakerRules
from escala.resilience.pure.breaker_table import (
    FAILING,
    IN_A_ROW,
    REOPENED,
    SLOW,
    BreakerMode,
    BreakerState,
    Transition,
)

Errand: TypeAlias = Literal["look", "open", "probe", "passed", "failed"]
_OWN = (FAILING, SLOW, IN_A_ROW, REOPENED)
_MOST_GIVEN_BACK = 64  # while the store is away; it takes them back by itself, but later


class Question(NamedTuple):
    """What a process asks or tells the store; `number` orders those of one breaker.

    `opened` says that it is open here and the store does not know, `given_back` names the probes
    that ended without telling anything.
    """

    number: int
    errand: Errand
    opened: bool
    given_back: tuple[str, ...]


class Answer(NamedTuple):
    """Where the breaker is for all processes, if the store knows of it at all.

    `left` is what an open one has of its cooldown, or for how long a half-open one has no probe
    to give; seconds by the store's own clock.
    """

    known: bool
    state: BreakerState
    left: float
    granted: bool
    reason: str


class SharedMachine(BreakerMachine):
    """Counts and opens by itself, tells the others through a store, and goes where they go.

    Every `refresh` seconds one call looks at the store. What this process opens it tells at once.
    Probes are given out by the store alone. While the store does not answer, the machine decides
    as if it were the only one; what it has opened meanwhile is told when the store is back, and
    for the rest the store is right.
    """

    __slots__ = (
        "_ask_at",
        "_asked",
        "_asking",
        "_given_back",
        "_heard",
        "_look_at",
        "_refresh",
        "unreported",
    )

    def __init__(
        self, rules: BreakerRules, mode: BreakerMode = "enforce", *, refresh: float
    ) -> None:
        super().__init__(rules, mode)
        self._refresh = refresh
        self._look_at = self._ask_at = -math.inf
        self._asked = self._heard = self._asking = 0
        self._given_back: list[str] = []
        self.unreported = False  # whether it has opened, and the store does not know

    def due(self, now: float) -> bool:
        """Whether it is this call's turn to look at the store."""
        if now < self._look_at:
            return False
        self._look_at = now + self._refresh
        return True

    def may_ask(self, now: float) -> bool:
        """Whether a call that found it not closed may ask for a probe; then say `asked` after."""
        if self.state is BreakerState.OPEN and now < self._until:
            return False
        # As many at once as could be granted: a thousand callers make no thousand questions.
        if self._asking >= self._rules.probes or now < self._ask_at:
            return False
        self._asking += 1
        return True

    def asked(self) -> None:
        """A question that `may_ask` allowed has ended."""
        self._asking -= 1

    def ask(self, errand: Errand) -> Question:
        """Put a question; `learn` or `unheard` takes it back."""
        self._asked += 1
        given_back, self._given_back = tuple(self._given_back), []
        if errand == "look" and self.unreported:
            errand = "open"
        return Question(self._asked, errand, self.unreported, given_back)

    def learn(self, question: Question, answer: Answer, now: float) -> None:
        """Be where the store says the breaker is, unless this process knows better."""
        if question.number < self._heard:
            return  # a later question was answered before
        self._heard = question.number
        if question.errand == "probe" and not answer.granted:
            self._ask_at = now + min(self._refresh, answer.left)
        if answer.known and (question.opened or not self.unreported):
            self.unreported = False
            self.follow(answer.state, now, answer.left, answer.reason)

    def unheard(self, question: Question, lease: str) -> None:
        """A question was not answered, or too late; a probe it got or spoke of is given back."""
        given_back = [*self._given_back, *question.given_back, *([lease] if lease else [])]
        self._given_back = given_back[-_MOST_GIVEN_BACK:]

    def give_back(self, lease: str) -> None:
        """A probe of the store's ended without telling anything: the next call tells it so."""
        self._given_back.append(lease)
        self._look_at = -math.inf

    def _enter(self, step: Transition, now: float, reason: str) -> None:
        super()._enter(step, now, reason)
        self.unreported = step in _OWN

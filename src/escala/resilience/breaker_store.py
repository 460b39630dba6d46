"""The store that the circuit breakers of one name share, in whatever process they are."""

from __future__ import annotations

import itertools
import math
import os
import secrets
from typing import Any

from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.resilience.breaker_options import BreakerOptions
from escala.resilience.breaker_script import SCRIPT
from escala.resilience.pure.breaker_table import BreakerState
from escala.resilience.pure.shared_breaker import Answer, Question
from escala.stores.script_link import open_link


class BreakerStore:
    """Redis behind a breaker: one script, one round trip for each question.

    The keys are `escala:breaker:{name}:<key>` and the same with `:probes`. They are kept for an
    hour longer than they can matter. Raises `ConfigError` for a URL that nothing opens.
    """

    def __init__(self, url: str, options: BreakerOptions, name: str) -> None:
        self._link = open_link(url)
        self._prefix = f"escala:breaker:{{{name}}}:"
        cap = options.cooldown_cap
        self._numbers = (
            _milliseconds(options.cooldown),
            0 if cap is None else _milliseconds(cap),
            options.probes,
            _milliseconds(options.probe_lease),
        )
        self._own, self._count = secrets.token_hex(6), itertools.count(1)

    def lease(self) -> str:
        """A name for a probe that no other has, here or in a process forked from this one."""
        return f"{self._own}.{os.getpid()}.{next(self._count)}"

    async def answer(
        self, question: Question, key: str, lease: str, reason: str, runtime: Runtime
    ) -> Answer:
        """Put a question; raises what `ScriptLink.run` raises.

        Should the script run twice, the second time finds done what it would do.
        """
        state = self._prefix + key
        arguments = (
            question.errand,
            int(question.opened),
            lease,
            reason,
            *self._numbers,
            *question.given_back,
        )
        keys = (state, f"{state}:probes")
        return read(await self._link.run(SCRIPT, keys, arguments, runtime))

    def close(self) -> None:
        """Let go of the connections."""
        self._link.close()


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def read(found: Any) -> Answer:  # noqa: ANN401  what Redis answered
    """What the script answered. Raises `StoreUnavailable` for anything it cannot have said."""
    try:
        known, state, left, granted, reason = found
        return Answer(
            known=bool(known),
            state=BreakerState(_text(state)),
            left=int(left) / 1000,
            granted=bool(granted),
            reason=_text(reason),
        )
    except (TypeError, ValueError) as error:
        raise StoreUnavailable(f"the store gave an answer that is none: {found!r:.100}") from error


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value

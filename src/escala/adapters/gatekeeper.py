"""What ASGI and WSGI share: who is let in, and what the others are told."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

from escala.adapters.given_policy import policies
from escala.adapters.given_priority import Priority, prioritised
from escala.adapters.incoming_request import IncomingRequest
from escala.adapters.pure.problem_document import CONTENT_TYPE, problem
from escala.adapters.pure.rate_limit_fields import Fields, RateLimitFields, retry_after
from escala.adapters.pure.timeout_field import TIMEOUT_FIELD, read
from escala.errors import ConfigError, DeadlineExceeded, RateLimited, Rejected
from escala.kernel.policy import Policy
from escala.kernel.runtime import Runtime, colours
from escala.kernel.stack import Stack
from escala.kernel.units import PositiveDuration
from escala.limiting.decision import Decision
from escala.limiting.rate_limiter import RateLimiter


class Refusal(NamedTuple):
    """The answer to a request that was not let in."""

    status: int
    fields: Fields
    body: bytes


class Gatekeeper:
    """Asks the rate limiters first, and leaves the other policies to surround the request."""

    def __init__(
        self,
        policy: Policy,
        deadline: float | str | None,
        *,
        priority: Priority | None,
        older: bool,
        where: str,
    ) -> None:
        given = policies(policy, where=where)
        for each in given:
            if each.repeats:
                raise ConfigError(
                    f"{where}: {type(each).__name__} may run its call again, which a request that "
                    "is being served cannot: its body is read and its answer begun"
                )
        self.prioritise = prioritised(priority, where=where)
        self.limiters = tuple(
            (each, RateLimitFields(each.name, each.plan.limits, older=older))
            for each in given
            if isinstance(each, RateLimiter)
        )
        rest = [each for each in given if not isinstance(each, RateLimiter)]
        self.rest = Stack(*rest)
        self._longest = math.inf if deadline is None else PositiveDuration(deadline)
        self._policy_field = ", ".join(fields.policy for _, fields in self.limiters)

    def until(self, request: IncomingRequest, now: float) -> float:
        """When the request has to be answered: what its client says, within what we allow."""
        asked = read(request.header(TIMEOUT_FIELD))
        return now + (self._longest if asked is None else min(asked, self._longest))

    async def admit(self, runtime: Runtime, told: Fields) -> None:
        """Ask every limiter for the current request; `told` gets the fields, also on refusal.

        Raises `RateLimited`.
        """
        standings: list[str] = []
        older: Fields = []
        try:
            for limiter, fields in self.limiters:
                key = limiter.current_key()
                decision = await _decision(limiter, key, runtime)
                standings.append(fields.standing(decision))
                older = fields.older(decision) or older
                if not decision:
                    violated = fields.names[decision.decided_by]
                    raise _Violated(limiter.refused(key, decision), violated)
        finally:
            if standings:
                told += [
                    ("RateLimit-Policy", self._policy_field),
                    ("RateLimit", ", ".join(standings)),
                    *older,
                ]


class _Violated(RateLimited):
    """A refusal that knows the policy's name in the fields."""

    def __init__(self, said: RateLimited, violated: str) -> None:
        super().__init__(said.policy, said.reason, said.retry_after)
        self.violated = violated


async def _decision(limiter: RateLimiter, key: Hashable, runtime: Runtime) -> Decision:
    if runtime is colours.loop:
        return await limiter.aacquire(key)
    return limiter.acquire(key)


def refusal(error: Rejected | DeadlineExceeded) -> Refusal:
    """429 for a rate limit, 503 for every other refusal, 504 when time was up."""
    fields: Fields = [("Content-Type", CONTENT_TYPE)]
    if not isinstance(error, Rejected):
        return Refusal(504, fields, problem(504, str(error)))
    if error.retry_after is not None:
        fields.append(("Retry-After", retry_after(error.retry_after)))
    if not isinstance(error, RateLimited):
        return Refusal(503, fields, problem(503, str(error)))
    violated = (error.violated,) if isinstance(error, _Violated) else ()
    return Refusal(429, fields, problem(429, str(error), violated=violated))

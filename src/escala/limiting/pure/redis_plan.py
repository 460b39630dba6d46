"""A plan in the numbers that its script in Redis needs, and the script's answer as a decision."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Sequence
from hashlib import blake2b

from escala.errors import ConfigError
from escala.limiting.decision import Decision
from escala.limiting.plan import Limit, Plan

BUCKETS = ("token_bucket", "leaky_bucket")

_LIFE = 2.0**30  # seconds, from 2025 on: until 2059
_EXACT = 2.0**52  # whole numbers up to here, and the double, are exact
_MILLION = 1_000_000
_ONE_LIMIT = 5  # numbers of an answer about one limit
_DIGITS = 10  # of 6 bits each: of a million keys two are taken for one with a chance of 1 in 2e6


class RedisPlan:
    """What is sent along with each question, and how the keys are called.

    A key is a short digest of the plan and of the limiter's key. So a limiter whose limits or
    algorithm were changed begins anew, long keys cost no more than short ones, and what clients
    are called does not stand in Redis. A log has a key for each limit, and a hash tag puts them
    in one slot of a cluster.
    """

    def __init__(self, plan: Plan) -> None:
        self.limits, self._burst = plan.limits, plan.limits[0].burst
        self._several = plan.algorithm == "sliding_window_log"
        what = [(each.burst, each.rate, each.period) for each in plan.limits]
        about = repr((plan.name, plan.algorithm, plan.strict, what))
        seed = blake2b(about.encode()).digest()
        self._seed = blake2b(seed, digest_size=8)  # half a block: a usual key completes no second
        bucket = plan.algorithm in BUCKETS
        # Only a bucket can be charged ahead of time without that opening the next window now.
        self.reserves = bucket and not plan.strict
        self.numbers: tuple[str | int, ...] = ()
        for limit in plan.limits:
            self.numbers += _bucket(limit, plan.name) if bucket else _window(limit)

    def names(self, key: str) -> tuple[str, ...]:
        """The names in Redis for a limiter's key."""
        digest = self._seed.copy()
        digest.update(key.encode(errors="surrogatepass"))
        tag = b2a_base64(digest.digest())[:_DIGITS].decode()
        if not self._several:
            return (f"esc:{tag}",)
        return tuple([f"esc:{{{tag}}}{nth}" for nth in range(len(self.limits))])

    def decision(self, answer: Sequence[int], *, look: bool = False) -> tuple[Decision, float]:
        """What the script said, and how many seconds ahead the place is that it gave.

        Raises `ValueError` or `TypeError` for what no script of ours says.
        """
        if len(answer) != 2 + 3 * len(self.limits):
            raise ValueError("as many limits were not asked about")
        if len(answer) == _ONE_LIMIT:
            granted, sleep, wait, left, reset = answer
            decision = Decision(
                allowed=granted == 1 or (look and not wait),
                limit=self._burst,
                remaining=left,
                reset_after=reset / _MILLION,
                retry_after=wait / _MILLION,
            )
            return decision, sleep / _MILLION
        waits, lefts, resets = answer[2::3], answer[3::3], answer[4::3]
        allowed = answer[0] == 1 or (look and not any(waits))
        if allowed:
            nth = min(range(len(waits)), key=lambda nth: (lefts[nth], -resets[nth]))
        else:
            nth = waits.index(max(waits))
        each = [(left, reset / _MILLION) for left, reset in zip(lefts, resets, strict=True)]
        decision = Decision(
            allowed=allowed,
            limit=self.limits[nth].burst,
            remaining=lefts[nth],
            reset_after=resets[nth] / _MILLION,
            retry_after=waits[nth] / _MILLION,
            decided_by=nth,
            each=tuple(each),
        )
        return decision, answer[1] / _MILLION


def _bucket(limit: Limit, name: str) -> tuple[str | int, ...]:
    """Into how many parts a token is divided is a power of two, as many as remain exact."""
    most = _LIFE * limit.rate + limit.burst
    parts = 2.0 ** math.floor(math.log2(_EXACT / most))
    if parts < 1:
        raise ConfigError(
            f"{name}: store: expected a rate of at most {_EXACT / _LIFE:.0f}/s, since Redis counts "
            f"microseconds; found {limit.text!r}"
        )
    return repr(limit.rate * parts / _MILLION), repr(limit.burst * parts), repr(parts)


def _window(limit: Limit) -> tuple[str | int, ...]:
    return max(1, math.ceil(limit.period * _MILLION - _ROUNDING)), limit.burst, 0


_ROUNDING = 1e-3  # a period of 0.3 s is 300,000 microseconds, and not one more

"""How a rate limit stands, as HTTP header fields: `RateLimit-Policy` and `RateLimit`.

draft-ietf-httpapi-ratelimit-headers-11 (May 2026), in the structured fields of RFC 9651. Values
are whole numbers: seconds are rounded up, so that no one comes back too early.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from escala.limiting.decision import Decision
from escala.limiting.plan import Limit

Fields = list[tuple[str, str]]

_LARGEST = 999_999_999_999_999  # a structured field's integer has at most 15 digits


class RateLimitFields:
    """The fields of one limiter. With several limits each has an item, named after it.

    With `older` there are also `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds from
    now) of the limit that decided, as many clients know them.
    """

    def __init__(self, name: str, limits: Sequence[Limit], *, older: bool = False) -> None:
        several = len(limits) > 1
        self.names = tuple(f"{name}:{each.text}" if several else name for each in limits)
        self.policy = ", ".join(
            f"{_text(label)};q={_integer(count)};w={_integer(window)}"
            for label, (count, window) in zip(self.names, map(quota, limits), strict=True)
        )
        self._labels = tuple(map(_text, self.names))
        self._older = older

    def standing(self, decision: Decision) -> str:
        """`RateLimit`: what is left (`r`), and for how many seconds no more than that (`t`).

        A limit that refuses counts to the next call that it will let through, and not to the
        moment when all is back: so `t` and `Retry-After` agree, as the draft asks for.
        """
        return ", ".join(
            f"{label};r={_integer(left)};t={_integer(self._wait(decision, place, reset))}"
            for place, (label, (left, reset)) in enumerate(
                zip(self._labels, decision.standings, strict=True)
            )
        )

    def older(self, decision: Decision) -> Fields:
        """The `X-RateLimit` fields, if they were asked for."""
        if not self._older:
            return []
        wait = self._wait(decision, decision.decided_by, decision.reset_after)
        return [
            ("X-RateLimit-Limit", _integer(decision.limit)),
            ("X-RateLimit-Remaining", _integer(decision.remaining)),
            ("X-RateLimit-Reset", _integer(wait)),
        ]

    @staticmethod
    def _wait(decision: Decision, place: int, reset: float) -> float:
        refused = not decision.allowed and place == decision.decided_by
        return decision.retry_after if refused else reset


def quota(limit: Limit) -> tuple[int, int]:
    """How many per how many whole seconds: "10/200ms" is 50 per second, "0.5/s" is 1 per 2."""
    whole = limit.count == int(limit.count) and limit.period == int(limit.period)
    if whole:
        return int(limit.count), int(limit.period)
    window = math.ceil(max(limit.period, limit.period / limit.count))
    return max(1, int(limit.count / limit.period * window)), window


def retry_after(seconds: float) -> str:
    """A `Retry-After` that is never too early."""
    return _integer(max(1.0, seconds))


def _integer(value: float) -> str:
    return str(math.ceil(min(max(value, 0), _LARGEST)))


def _text(text: str) -> str:
    r"""A structured field's string: printable ASCII, with `"` and `\` escaped."""
    plain = "".join(each if " " <= each <= "~" else "?" for each in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'

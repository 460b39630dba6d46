"""When a hedge starts its copy: after `50ms`, or when a call is slower than `p95` of them."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.units import Duration
from escala.kernel.wrong_value import WrongValue

_PERCENTILE = r"p([5-9][0-9])(?:\.([0-9]))?"


class HedgeDelay(Scalar):
    """A time or a percentile; reads "50ms", "p95", "p99.9" or a plain number of seconds.

    >>> HedgeDelay("50ms").seconds, HedgeDelay("p99.9").per_mille
    (0.05, 999)
    """

    __slots__ = ("per_mille", "seconds")
    expected: ClassVar[str] = "a duration such as '50ms', or a percentile from 'p50' to 'p99.9'"
    seconds: float | None
    per_mille: int | None

    def __new__(cls, value: float | str | HedgeDelay) -> Self:
        """Read a delay; `WrongValue` if it is none."""
        text = value.text if isinstance(value, HedgeDelay) else value
        found = re.fullmatch(_PERCENTILE, text) if isinstance(text, str) else None
        made = object.__new__(cls)
        if found is not None:
            made.seconds, made.per_mille = None, int(found[1]) * 10 + int(found[2] or 0)
            return made
        try:
            made.seconds, made.per_mille = Duration(text), None
        except WrongValue:
            raise WrongValue(cls.expected, value) from None
        return made

    @property
    def text(self) -> str:
        """As "50ms" or "p95"."""
        if self.per_mille is None:
            return Duration(self.seconds or 0.0).text
        whole, tenth = divmod(self.per_mille, 10)
        return f"p{whole}.{tenth}" if tenth else f"p{whole}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A duration, or text with a percentile."""
        percentile = {"type": "string", "pattern": f"^{_PERCENTILE}$", "examples": ["p95"]}
        return {"anyOf": [*Duration.schema()["anyOf"], percentile]}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HedgeDelay):
            return NotImplemented
        return (self.seconds, self.per_mille) == (other.seconds, other.per_mille)

    def __hash__(self) -> int:
        return hash((self.seconds, self.per_mille))

    def __repr__(self) -> str:
        return f"HedgeDelay({self.text!r})"

    def __reduce__(self) -> tuple[type[HedgeDelay], tuple[str]]:
        return type(self), (self.text,)

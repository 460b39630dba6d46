"""How far back a circuit breaker looks: `10s`, or the last `100 calls`."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue

_CALLS = "([1-9][0-9]{0,4}) calls?"  # a byte of memory each, for every breaker


class BreakerWindow(Scalar):
    """A time or a number of calls; reads "10s", "100 calls" or a plain number of seconds.

    >>> BreakerWindow("1m").seconds, BreakerWindow("100 calls").calls
    (60.0, 100)
    """

    __slots__ = ("calls", "seconds")
    expected: ClassVar[str] = "a duration above zero such as '10s', or '1 call' to '99999 calls'"
    seconds: float | None
    calls: int | None

    def __new__(cls, value: float | str | BreakerWindow) -> Self:
        """Read a window; `WrongValue` if it is none."""
        text = value.text if isinstance(value, BreakerWindow) else value
        found = re.fullmatch(_CALLS, text) if isinstance(text, str) else None
        made = object.__new__(cls)
        if found is not None:
            made.seconds, made.calls = None, int(found[1])
            return made
        try:
            made.seconds, made.calls = PositiveDuration(text), None
        except WrongValue:
            raise WrongValue(cls.expected, value) from None
        return made

    @property
    def text(self) -> str:
        """As "10s" or "100 calls"."""
        if self.calls is None:
            return PositiveDuration(self.seconds or 0.0).text
        return f"{self.calls} call{'s' if self.calls > 1 else ''}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A duration, or text with a number of calls."""
        calls = {"type": "string", "pattern": f"^{_CALLS}$", "examples": ["100 calls"]}
        return {"anyOf": [*PositiveDuration.schema()["anyOf"], calls]}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BreakerWindow):
            return NotImplemented
        return (self.seconds, self.calls) == (other.seconds, other.calls)

    def __hash__(self) -> int:
        return hash((self.seconds, self.calls))

    def __repr__(self) -> str:
        return f"BreakerWindow({self.text!r})"

    def __reduce__(self) -> tuple[type[BreakerWindow], tuple[str]]:
        return type(self), (self.text,)

"""How long values are fresh: a duration, spread a little so that not all end at once."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.units import PositiveDuration, Share
from escala.kernel.wrong_value import WrongValue

SPREAD = 0.1
_LEVELS = 512  # so many different lifetimes come of one, so that entries can share them


class Lifetime(Scalar):
    """A duration and its spread; reads "5m±10%" (or "5m+-10%"), "5m" or a number of seconds.

    Without a spread it is ±10 %: values stored together end apart. "5m±0%" is exact.
    """

    __slots__ = ("seconds", "spread")
    expected: ClassVar[str] = "a duration above zero such as '5m', or with a spread '5m±10%'"
    seconds: float
    spread: float

    def __new__(cls, value: float | str | Lifetime) -> Self:
        """Read a lifetime; `WrongValue` if it is none, or not above zero."""
        spread, base = SPREAD, value
        if isinstance(value, Lifetime):
            base, spread = value.seconds, value.spread
        elif isinstance(value, str):
            base, sign, part = value.replace("+-", "±").partition("±")
            try:
                spread = float(Share(part.strip())) if sign else SPREAD
            except WrongValue:
                raise WrongValue(cls.expected, value) from None
        try:
            seconds = PositiveDuration(base.strip() if isinstance(base, str) else base)  # type: ignore[arg-type]
        except WrongValue:
            raise WrongValue(cls.expected, value) from None
        if not spread < 1:
            raise WrongValue(cls.expected, value)
        lifetime = object.__new__(cls)
        lifetime.seconds, lifetime.spread = float(seconds), spread
        return lifetime

    def drawn(self, draw: float) -> float:
        """The lifetime of one value; `draw` is a random number from 0 to 1."""
        if not self.spread:
            return self.seconds
        level = round(draw * _LEVELS) / _LEVELS
        return self.seconds * (1 + self.spread * (2 * level - 1))

    @property
    def text(self) -> str:
        """As "5m±10%"."""
        return f"{PositiveDuration(self.seconds).text}±{Share(self.spread).text}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit and perhaps a spread, or a number of seconds."""
        return {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^[0-9.]+(us|ms|s|m|min|h|d)((±|\+-)[0-9.]+%)?$"},
            ],
            "examples": ["5m", "5m±10%"],
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Lifetime):
            return NotImplemented
        return (self.seconds, self.spread) == (other.seconds, other.spread)

    def __hash__(self) -> int:
        return hash((self.seconds, self.spread))

    def __repr__(self) -> str:
        return f"Lifetime({self.text!r})"

    def __reduce__(self) -> tuple[type[Lifetime], tuple[str]]:
        return (Lifetime, (self.text,))

"""Durations, rates, sizes and shares the way people write them: "250ms", "100/min", "64MiB".

Use the types in an `Options` struct, and the functions where a constructor takes a value that
may be a plain number or text. All are strict: NaN, infinity, negative numbers and unknown units
are errors that say what was expected and what was found.

>>> seconds("250ms"), rate("90/min").per_second, size("10kB"), share("20%")
(0.25, 1.5, 10000, 0.2)
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

# Each unit is a ratio of integers, since only dividing integers rounds the result just once.
_SECONDS: dict[str, tuple[int, int]] = {
    "us": (1, 1_000_000),
    "ms": (1, 1_000),
    "s": (1, 1),
    "m": (60, 1),
    "min": (60, 1),
    "h": (3_600, 1),
    "d": (86_400, 1),
}
_BYTES: dict[str, int] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = rf"({_NUMBER})({'|'.join(_SECONDS)})"
_RATE = rf"({_NUMBER})/({_NUMBER})?({'|'.join(_SECONDS)})"
_SIZE = rf"({_NUMBER})({'|'.join(_BYTES)})"
_SHARE = rf"({_NUMBER})%"

_LONGEST_TEXT = 400  # untrusted digits are bounded before they are computed with
_LONGEST_DURATION = 36_500 * 86_400  # a century; operating systems refuse waits of a few more
_LARGEST_SIZE = 2**63 - 1
_MOST_PER_PERIOD = 10**15
_SHORTEST_PERIOD = 1e-6
_MOST_RATES = 8


class Duration(Scalar, float):
    """Seconds; reads "250ms", "2s", "5m", "1h", "1d" or a plain number of seconds."""

    __slots__ = ()
    expected: ClassVar[str] = "a duration such as '250ms', '2s' or '5m'"
    lowest: ClassVar[float] = 0.0

    def __new__(cls, value: float | str) -> Self:
        """Read a duration; `WrongValue` if it is none, or longer than a century."""
        seconds = _number(cls, value)
        if seconds is None and isinstance(value, str) and (parts := _parts(_DURATION, value)):
            seconds = _product(parts[0], *_SECONDS[parts[1]])
        if seconds is None or not seconds >= cls.lowest:
            raise WrongValue(cls.expected, value)
        if seconds > _LONGEST_DURATION:
            raise WrongValue("a duration of at most a century (36500d)", value)
        return float.__new__(cls, abs(seconds))  # -0.0 is zero

    @property
    def text(self) -> str:
        """In the largest unit that leaves a whole number: "5m", "90s", "250ms"."""
        for unit in ("d", "h", "m", "s", "ms", "us"):
            over, under = _SECONDS[unit]
            count = round(self * under / over)
            if count and count * over / under == self:
                return f"{count}{unit}"
        return f"{_decimal(self)}s"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit, or a number of seconds."""
        return _either({"minimum": 0}, _DURATION, "250ms", "2s", "5m")


class PositiveDuration(Duration):
    """A duration above zero, for intervals and windows in which zero means nothing."""

    __slots__ = ()
    expected = "a duration above zero such as '250ms', '2s' or '5m'"
    lowest = math.ulp(0.0)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit, or a number of seconds."""
        return _either({"exclusiveMinimum": 0}, _DURATION, "250ms", "2s", "5m")


class Rate(Scalar):
    """So many per period; reads "100/min", "200/s", "10/30s" or a plain number per second.

    `count` and `per` (seconds) stay apart: ten per half a minute allows a burst of ten.
    """

    __slots__ = ("_count", "_per")
    expected: ClassVar[str] = "a rate such as '100/min', '200/s' or '10/30s'"
    _count: float
    _per: Duration

    def __new__(cls, value: float | str | Rate) -> Self:
        """Read a rate; `WrongValue` if it is none, zero, or beyond counting."""
        count, per = _number(cls, value), 1.0
        if isinstance(value, Rate):
            count, per = value.count, value.per
        elif count is None and isinstance(value, str) and (parts := _parts(_RATE, value)):
            count = _product(parts[0], 1, 1)
            per = _product(parts[1] or "1", *_SECONDS[parts[2]])
        within = _SHORTEST_PERIOD <= per <= _LONGEST_DURATION
        if count is None or not within or not 0 < count <= _MOST_PER_PERIOD:
            raise WrongValue(cls.expected, value)
        rate = object.__new__(cls)
        rate._count, rate._per = float(count), Duration(per)
        return rate

    @property
    def count(self) -> float:
        """How many per period."""
        return self._count

    @property
    def per(self) -> float:
        """The period in seconds."""
        return float(self._per)

    @property
    def per_second(self) -> float:
        """How many per second."""
        return self._count / self._per

    @property
    def text(self) -> str:
        """As "200/s" or "10/30s"."""
        per = self._per.text
        if per in {"1s", "1m", "1h", "1d"}:
            per = {"m": "min"}.get(per[1], per[1])
        return f"{_decimal(self._count)}/{per}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit, or a number per second."""
        return _either({"exclusiveMinimum": 0}, _RATE, "100/min", "200/s", "10/30s")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rate):
            return NotImplemented
        return (self._count, self._per) == (other._count, other._per)

    def __hash__(self) -> int:
        return hash((self._count, self._per))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __reduce__(self) -> tuple[type[Rate], tuple[str]]:
        return type(self), (self.text,)


class Rates(Scalar):
    """One rate or several that hold at once; reads "10/s", "10/s; 1000/h" or a plain number."""

    __slots__ = ("_each",)
    expected: ClassVar[str] = "a rate such as '100/min', or several such as '10/s; 1000/h'"
    _each: tuple[Rate, ...]

    def __new__(cls, value: float | str | Rate | Rates) -> Self:
        """Read up to eight rates with semicolons between them; `WrongValue` for anything else."""
        rates = object.__new__(cls)
        if isinstance(value, Rates):
            rates._each = value.each
            return rates
        parts: list[float | str | Rate] = [value]
        if isinstance(value, str) and value.count(";") < _MOST_RATES:
            parts = [part.strip(" ") for part in value.split(";")]
        try:
            rates._each = tuple(Rate(part) for part in parts)
        except WrongValue as error:
            raise WrongValue(cls.expected, value) from error
        return rates

    @property
    def each(self) -> tuple[Rate, ...]:
        """The rates, in the order they were written."""
        return self._each

    @property
    def text(self) -> str:
        """As "10/s" or "10/s; 1000/h"."""
        return "; ".join(rate.text for rate in self._each)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit, several of them with semicolons between, or a number per second."""
        pattern = f"{_RATE}(?: *; *{_RATE}){{0,{_MOST_RATES - 1}}}"
        examples = ("100/min", "200/s", "10/s; 1000/h")
        return _either({"exclusiveMinimum": 0}, pattern, *examples)

    def __eq__(self, other: object) -> bool:
        return self._each == other._each if isinstance(other, Rates) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._each)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __reduce__(self) -> tuple[type[Rates], tuple[str]]:
        return type(self), (self.text,)


class Size(Scalar, int):
    """Bytes; reads "64MiB" (1024s), "10kB" (1000s), "512B" or a plain whole number of bytes."""

    __slots__ = ()
    expected: ClassVar[str] = "a size such as '64MiB', '10kB' or '512B'"
    lowest: ClassVar[int] = 0

    def __new__(cls, value: float | str) -> Self:
        """Read a size; `WrongValue` if it is none, or not a whole number of bytes."""
        count = _number(cls, value)
        if count is None and isinstance(value, str) and (parts := _parts(_SIZE, value)):
            over, under = _ratio(parts[0])
            over *= _BYTES[parts[1]]
            count = over // under if over % under == 0 else None
        if count is None or count != int(count) or not cls.lowest <= count <= _LARGEST_SIZE:
            raise WrongValue(cls.expected, value)
        return int.__new__(cls, count)

    @property
    def text(self) -> str:
        """In the largest unit that leaves a whole number: "64MiB", "10kB", "1500B"."""
        for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB"):
            count, rest = divmod(int(self), _BYTES[unit])
            if count and not rest:
                return f"{count}{unit}"
        return f"{int(self)}B"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a unit, or a whole number of bytes."""
        return _either({"minimum": cls.lowest}, _SIZE, "64MiB", "10kB", kind="integer")


class PositiveSize(Size):
    """A size of at least one byte."""

    __slots__ = ()
    expected = "a size above zero such as '64MiB', '10kB' or '512B'"
    lowest = 1


class Share(Scalar, float):
    """A part of the whole; reads "20%" or a plain number from 0 to 1."""

    __slots__ = ()
    expected: ClassVar[str] = "a share from 0 to 1 such as '20%' or 0.2"
    lowest: ClassVar[float] = 0.0

    def __new__(cls, value: float | str) -> Self:
        """Read a share; `WrongValue` if it is none, or above the whole."""
        part = _number(cls, value)
        if part is None and isinstance(value, str) and (parts := _parts(_SHARE, value)):
            part = _product(parts[0], 1, 100)
        if part is None or not cls.lowest <= part <= 1:
            raise WrongValue(cls.expected, value)
        return float.__new__(cls, abs(part))  # -0.0 is zero

    @property
    def text(self) -> str:
        """As "20%"."""
        return _decimal(self, shift=2) + "%"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a percent sign, or a number from 0 to 1."""
        return _either({"minimum": 0, "maximum": 1}, _SHARE, "20%")


class PositiveShare(Share):
    """A share above zero, for thresholds that zero would cross at once."""

    __slots__ = ()
    expected = "a share above 0 and up to 1 such as '20%' or 0.2"
    lowest = math.ulp(0.0)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text with a percent sign, or a number above 0 and up to 1."""
        return _either({"exclusiveMinimum": 0, "maximum": 1}, _SHARE, "20%")


def seconds(value: float | str) -> float:
    """Seconds from "250ms" or a plain number: `seconds("250ms") == 0.25`."""
    return float(Duration(value))


def rate(value: float | str | Rate) -> Rate:
    """A rate from "100/min" or a plain number per second."""
    return Rate(value)


def size(value: float | str) -> int:
    """Bytes from "64MiB" or a plain whole number."""
    return int(Size(value))


def share(value: float | str) -> float:
    """A number from 0 to 1, from "20%" or as it is."""
    return float(Share(value))


def _number(kind: type[Scalar], value: object) -> float | None:
    """A plain number as it is; `None` for anything else. A bool is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) if isinstance(value, float) else abs(value) > _LARGEST_SIZE:
        raise WrongValue(kind.expected, value)
    return value


def _parts(pattern: str, text: str) -> tuple[str, ...] | None:
    found = re.fullmatch(pattern, text) if len(text) <= _LONGEST_TEXT else None
    return found.groups() if found else None


def _ratio(number: str) -> tuple[int, int]:
    whole, _, fraction = number.partition(".")
    return int(whole + fraction), 10 ** len(fraction)


def _product(number: str, over: int, under: int) -> float:
    """The number times a unit, correctly rounded; infinite beyond what a float can hold."""
    count, scale = _ratio(number)
    try:
        return (count * over) / (scale * under)
    except OverflowError:
        return math.inf


def _decimal(value: float, *, shift: int = 0) -> str:
    """The shortest digits that read back as this number, without an exponent."""
    from decimal import Decimal  # slow to load, and only what is shown to people comes here

    digits = format(Decimal(repr(float(value))).scaleb(shift), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _either(
    limits: dict[str, Any], pattern: str, *examples: str, kind: str = "number"
) -> dict[str, Any]:
    text = {"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)}
    return {"anyOf": [{"type": kind, **limits}, text]}

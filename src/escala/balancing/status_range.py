"""Which status codes count as well: `200..399`, or just `204`."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

_PATTERN = r"([1-5][0-9]{2})(?:\.\.([1-5][0-9]{2}))?"


class StatusRange(Scalar):
    """HTTP status codes from the first to the last, both included.

    >>> 204 in StatusRange("200..399"), 404 in StatusRange("200..399"), 204 in StatusRange(200)
    (True, False, False)
    """

    __slots__ = ("_codes",)
    expected: ClassVar[str] = "a status code or a range of them such as 204 or '200..399'"
    _codes: range

    def __new__(cls, value: int | str | StatusRange) -> Self:
        """Read a code or a range; `WrongValue` if it is none."""
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        text = text.text if isinstance(text, StatusRange) else text
        found = re.fullmatch(_PATTERN, text) if isinstance(text, str) else None
        codes = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not codes:
            raise WrongValue(cls.expected, value)
        made = object.__new__(cls)
        made._codes = codes
        return made

    def __contains__(self, code: int) -> bool:
        return code in self._codes

    @property
    def text(self) -> str:
        """As "200..399" or "204"."""
        first, last = self._codes[0], self._codes[-1]
        return f"{first}" if first == last else f"{first}..{last}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A number, or text with two."""
        number = {"type": "integer", "minimum": 100, "maximum": 599}
        text = {"type": "string", "pattern": f"^{_PATTERN}$", "examples": ["200..399"]}
        return {"anyOf": [number, text]}

    def __eq__(self, other: object) -> bool:
        return self._codes == other._codes if isinstance(other, StatusRange) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._codes)

    def __repr__(self) -> str:
        return f"StatusRange({self.text!r})"

    def __reduce__(self) -> tuple[type[StatusRange], tuple[str]]:
        return type(self), (self.text,)

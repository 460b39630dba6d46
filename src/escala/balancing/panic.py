"""When to give up on health checks: too few targets are well to take all calls."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.units import Share
from escala.kernel.wrong_value import WrongValue

_WORDS = {"false": 0.0, "true": sys.float_info.min}


class Panic(Scalar, float):
    """The healthy share below which all targets are picked: `true`, `false`, "50%" or 0.5.

    `true` is a share that only no healthy target at all is below, `false` is one that nothing is.
    """

    __slots__ = ()
    expected: ClassVar[str] = "true, false or a share from 0 to 1 such as '50%'"

    def __new__(cls, value: bool | float | str) -> Self:  # noqa: FBT001  what configuration holds
        """Read it; `WrongValue` if it is neither."""
        if isinstance(value, cls):
            return value
        word = str(value).lower() if isinstance(value, bool) else value
        if isinstance(word, str) and word in _WORDS:
            return float.__new__(cls, _WORDS[word])
        try:
            return float.__new__(cls, Share(word))
        except WrongValue:
            raise WrongValue(cls.expected, value) from None

    @property
    def given(self) -> bool | float:
        """As a program writes it: True, False or a share."""
        return next((word == "true" for word in _WORDS if self == _WORDS[word]), float(self))

    @property
    def text(self) -> str:
        """As "50%", "true" or "false"."""
        return next((word for word in _WORDS if self == _WORDS[word]), Share(float(self)).text)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A boolean, or what a share is."""
        return {"anyOf": [{"type": "boolean"}, {"enum": list(_WORDS)}, *Share.schema()["anyOf"]]}

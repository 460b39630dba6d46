"""The path of a request as configuration spells it: `/health`, `/status?brief=1`."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

_PATTERN = r"/[!-~]*"  # visible ASCII: a space or a line end would end the request line
_LONGEST = 2000


class RequestPath(Scalar, str):
    """A path, perhaps with a query, that goes into a request line as it is."""

    __slots__ = ()
    expected: ClassVar[str] = "a path such as '/health'"

    def __new__(cls, value: object) -> Self:
        """Read a path; `WrongValue` if it is none, or longer than 2,000 characters."""
        text = value if isinstance(value, str) and len(value) <= _LONGEST else ""
        if not re.fullmatch(_PATTERN, text):
            raise WrongValue(cls.expected, value)
        return str.__new__(cls, text)

    @property
    def text(self) -> str:
        """As it was written."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text that begins with a slash."""
        text = {"type": "string", "pattern": f"^{_PATTERN}$", "maxLength": _LONGEST}
        return {**text, "examples": ["/health"]}

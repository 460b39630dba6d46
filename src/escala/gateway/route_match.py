"""What a route matches: the start of a path, methods, a host."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue


class _Text(Scalar, str):
    """Text of one form; a subclass says which."""

    __slots__ = ()
    pattern: ClassVar[str]
    example: ClassVar[str]

    def __new__(cls, value: object) -> Self:
        """Read the text; `WrongValue` if it has another form."""
        if not isinstance(value, str) or not re.fullmatch(cls.pattern, value):
            raise WrongValue(cls.expected, value)
        return str.__new__(cls, value)

    @property
    def text(self) -> str:
        """As it was written."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text of this form."""
        return {"type": "string", "pattern": f"^{cls.pattern}$", "examples": [cls.example]}


class UrlPath(_Text):
    """A path that begins with `/`, without query or fragment."""

    __slots__ = ()
    expected = "a path that begins with '/' and has no '?', '#' or blank"
    pattern = r'/[!-"$->@-~]*'
    example = "/api/"


class Method(_Text):
    """An HTTP method in capitals, as they are on the wire."""

    __slots__ = ()
    expected = "a method in capitals such as 'GET'"
    pattern = r"[A-Z][A-Z-]{0,31}"
    example = "GET"


class Host(_Text):
    """A host name as clients ask for it, without a port."""

    __slots__ = ()
    expected = "a host name such as 'shop.example'"
    pattern = r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?"
    example = "shop.example"

    def __new__(cls, value: object) -> Self:
        """Read the name; kept in lower case, since hosts have no case."""
        return str.__new__(cls, super().__new__(cls, value).lower())

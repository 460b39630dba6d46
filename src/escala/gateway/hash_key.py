"""What a request is about, so that `consistent_hash` sends the same to the same target."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Self

from escala.http.message import KEYS
from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

if TYPE_CHECKING:
    from escala.http.message import HttpRequest

_TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}"  # noqa: S105  a field's or a cookie's name
_PATTERN = f"{'|'.join(KEYS)}|(?:header|cookie):{_TOKEN}"
_COOKIE = "cookie:"


class HashKey(Scalar, str):
    """`client_ip`, `path`, `host`, `method`, `header:<name>` or `cookie:<name>`."""

    __slots__ = ()
    expected: ClassVar[str] = "client_ip, host, path, method, 'header:<name>' or 'cookie:<name>'"

    def __new__(cls, value: object) -> Self:
        """Read it; `WrongValue` if it is none of these."""
        if not isinstance(value, str) or not re.fullmatch(_PATTERN, value):
            raise WrongValue(cls.expected, value)
        return str.__new__(cls, value)

    @property
    def text(self) -> str:
        """As it was written."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text of one of these forms."""
        examples = ["client_ip", "header:x-user", "cookie:session"]
        return {"type": "string", "pattern": f"^(?:{_PATTERN})$", "examples": examples}

    def of(self, request: HttpRequest) -> str | None:
        """The key of a request; None where it has no such header or cookie."""
        if not self.startswith(_COOKIE):
            return request.get(self)
        wanted = self.removeprefix(_COOKIE)
        for name, value in request.headers:
            if name == b"cookie":
                for pair in value.decode("latin-1").split(";"):
                    found, equals, text = pair.strip().partition("=")
                    if equals and found == wanted:
                        return text
        return None

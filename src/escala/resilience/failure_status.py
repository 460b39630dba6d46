"""Which HTTP and gRPC statuses are failures: `503`, `500..504`, `UNAVAILABLE`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

_HTTP = r"([1-5][0-9]{2})(?:\.\.([1-5][0-9]{2}))?"
# fmt: off
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)
# fmt: on


class FailureStatus(Scalar):
    """HTTP status codes from the first to the last, both included, or a gRPC status by its name.

    >>> 503 in FailureStatus("500..504"), "UNAVAILABLE" in FailureStatus("UNAVAILABLE")
    (True, True)
    """

    __slots__ = ("_codes", "text")
    expected: ClassVar[str] = (
        "an HTTP status, a range of them or a gRPC status, such as 503, '500..504' or 'UNAVAILABLE'"
    )
    _codes: range | tuple[str, ...]
    text: str

    def __new__(cls, value: int | str | FailureStatus) -> Self:
        """Read a status or a range; `WrongValue` if it is none."""
        text = value.text if isinstance(value, FailureStatus) else str(value)
        made = object.__new__(cls)
        found = re.fullmatch(_HTTP, text)
        if text in _GRPC:
            made._codes = (text,)
        elif found is not None:
            made._codes = range(int(found[1]), int(found[2] or found[1]) + 1)
        else:
            made._codes = ()
        if not made._codes:
            raise WrongValue(cls.expected, value)
        made.text = text
        return made

    def __contains__(self, status: int | str) -> bool:
        return status in self._codes

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A number, text with two, or a name."""
        number = {"type": "integer", "minimum": 100, "maximum": 599}
        text = {"type": "string", "pattern": f"^{_HTTP}$", "examples": ["500..504"]}
        return {"anyOf": [number, text, {"enum": list(_GRPC)}]}

    def __eq__(self, other: object) -> bool:
        return self._codes == other._codes if isinstance(other, FailureStatus) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._codes)

    def __repr__(self) -> str:
        return f"FailureStatus({self.text!r})"

    def __reduce__(self) -> tuple[type[FailureStatus], tuple[str]]:
        return type(self), (self.text,)


def status_of_result(result: object) -> int | str | None:
    """The HTTP status of an answer (`status_code` of httpx and requests, `status` of aiohttp)."""
    for name in ("status_code", "status"):
        found = _plain(_there(result, name))
        if found is not None:
            return found
    return None


def status_of_error(error: BaseException) -> int | str | None:
    """The status an error tells: of its `response`, its own, or gRPC's `code()`."""
    found = status_of_result(_there(error, "response"))
    if found is None:
        found = status_of_result(error)
    if found is None:
        found = _plain(_code(error))
    return found


def _code(error: BaseException) -> object:
    code = _there(error, "code")
    if not callable(code):
        return code
    with suppress(Exception):  # it is not gRPC's, and asks for arguments
        return _there(code(), "name")
    return None


def _there(thing: object, name: str) -> object:
    """What another library has there; a property that raises says nothing."""
    with suppress(Exception):
        return getattr(thing, name, None)
    return None


def _plain(status: object) -> int | str | None:
    return status if isinstance(status, (int, str)) and not isinstance(status, bool) else None

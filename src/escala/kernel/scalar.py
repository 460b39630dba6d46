"""A value with a spelling of its own in configuration, such as `250ms` or `127.0.0.1:8080`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self


class Scalar:
    """Subclass it for a field that reads text and holds a typed value.

    The constructor takes what configuration may hold (text, or a plain number where that makes
    sense) and raises `WrongValue`. `text` is the spelling it would be read back from, so
    `cls(value.text) == value`. Fields of these types work in every `Options` struct, in YAML,
    in environment variables and in the JSON Schema.
    """

    __slots__ = ()
    expected: ClassVar[str] = "a value"

    def __new__(cls, _value: Any) -> Self:  # noqa: ANN401  each subclass says what it takes
        """Read one value; the first base that can hold it (float, int, str) makes the object."""
        return super().__new__(cls)

    @property
    @abstractmethod
    def text(self) -> str:
        """How configuration spells this value."""

    @classmethod
    @abstractmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON Schema of every accepted spelling."""


def decode(kind: type[Any], value: object) -> object:
    """Msgspec's `dec_hook`: fields of our types are read by their own constructors."""
    if isinstance(value, kind):
        return value
    if issubclass(kind, Scalar):
        return kind(value)
    msg = f"expected an object of type {kind.__name__}, found {type(value).__name__}"
    raise ValueError(msg)

"""Values as msgpack or JSON, which come back with the types of the function's annotation."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import msgspec

from escala.caching.frame import HEAD_SIZE, Frame
from escala.caching.pure.change import change
from escala.errors import CannotEncode, Undecodable

FORMATS = {"msgpack": 1, "json": 2}
_MOST_KINDS = 1024


class MsgspecCodec:
    """The safe choice: reading runs no code but that of your own types.

    A value is read back while it is written, so what would come back as something else is
    refused at once, and nothing is kept that cannot be read.
    """

    def __init__(self, name: Literal["msgpack", "json"], frame: Frame) -> None:
        self.name = name
        self._frame = frame
        self._module: Any = getattr(msgspec, name)
        self._encode = self._module.Encoder().encode
        self._decoders: dict[Any, Any] = {}

    def dumps(self, value: object, kind: Any, key: str) -> bytes:  # noqa: ANN401, ARG002
        """The payload. Raises `CannotEncode` for a value that would not come back as it is."""
        try:
            body = self._encode(value)
            changed = change(value, self._decode(body, kind))
        except Exception as error:
            raise CannotEncode(self._refusal(value, kind, f"{error}")) from error
        if changed is not None:
            how = f"in value{changed.where}, {changed.how}" if changed.where else changed.how
            raise CannotEncode(self._refusal(value, kind, how))
        head, data = self._frame.wrap(body)
        return head + data

    def loads(self, payload: bytes, kind: Any, key: str) -> object:  # noqa: ANN401, ARG002
        """The value. Raises `Undecodable`, and nothing else, for bytes that are none."""
        head = self._frame.head(payload)
        body = self._frame.body(head, memoryview(payload)[HEAD_SIZE:])
        try:
            return self._decode(body, kind)
        except Exception as error:  # the user's own types may raise what they like
            raise Undecodable(f"{self.name}: {error}") from error

    def _decode(self, body: bytes | memoryview, kind: Any) -> object:  # noqa: ANN401
        try:
            decoder = self._decoders[kind]
        except (KeyError, TypeError):
            decoder = self._decoder(kind)
        return decoder.decode(body)

    def _decoder(self, kind: Any) -> Any:  # noqa: ANN401
        """A new one, which is kept if its type can be hashed."""
        decoder = self._module.Decoder(Any if kind is None else kind)
        if len(self._decoders) >= _MOST_KINDS:
            self._decoders.clear()
        with suppress(TypeError):
            self._decoders[kind] = decoder
        return decoder

    def _refusal(self, value: object, kind: Any, why: str) -> str:  # noqa: ANN401
        advice = (
            "say what the function returns in its annotation"
            if kind is None
            else f"return what the annotation {_shown(kind)} says, or plain values"
        )
        return f"{self.name} cannot carry this {type(value).__qualname__}: {why}; {advice}"

    def __repr__(self) -> str:
        return f"<codec {self.name}>"


def _shown(kind: Any) -> str:  # noqa: ANN401
    return kind.__qualname__ if isinstance(kind, type) else str(kind)

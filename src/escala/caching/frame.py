"""What stands before a value's bytes: how to read them, and whether this program may."""

from __future__ import annotations

from struct import Struct

from escala.caching.compression import Compression, numbered, too_large
from escala.errors import CannotEncode, Undecodable

_HEAD = Struct(">BBI")
HEAD_SIZE = _HEAD.size


class Frame:
    """Puts a header before a body, and takes it off again; compresses what is worth it.

    The header is u8 format, u8 compression (0: none, 1: zlib, 2: zstd), u32 schema, big-endian.
    Bodies of more than `above` bytes are compressed (`None`: none are), unless they would not
    shrink. A body of more than `max_size` bytes is neither written nor read.
    """

    def __init__(
        self, kind: int, schema: int, *, compression: Compression, above: int | None, max_size: int
    ) -> None:
        self.max_size = max_size
        self._kind, self._schema = kind, schema
        self._above = max_size if above is None else above
        self._compression = compression
        self._plain = _HEAD.pack(kind, 0, schema)
        self._smaller = _HEAD.pack(kind, compression.number, schema)
        self._compressions = {compression.number: compression}

    def wrap(self, body: bytes) -> tuple[bytes, bytes]:
        """The header, and what follows it. Raises `CannotEncode` above `max_size`."""
        size = len(body)
        if size > self.max_size:
            raise CannotEncode(
                f"the value takes {size} bytes, and max_size is {self.max_size}; "
                "keep smaller values, or raise max_size"
            )
        if size > self._above:
            data = self._compression.compress(body)
            if len(data) < size:
                return self._smaller, data
        return self._plain, body

    def head(self, payload: bytes) -> bytes:
        """The header, if it is one that this frame reads. Raises `Undecodable`."""
        head = payload[:HEAD_SIZE]
        if head in (self._plain, self._smaller):
            return head
        if len(head) < HEAD_SIZE:
            raise Undecodable(f"a payload of {len(payload)} bytes is too short to be one")
        kind, compression, schema = _HEAD.unpack(head)
        if kind != self._kind:
            raise Undecodable(f"the payload is of format {kind}, and this codec reads {self._kind}")
        if schema != self._schema:
            raise Undecodable(
                f"the payload is of schema {schema}, and this program reads {self._schema}"
            )
        if compression not in self._compressions:
            self._compressions[compression] = numbered(compression)
        return head

    def body(self, head: bytes, data: memoryview) -> bytes | memoryview:
        """What was wrapped. Raises `Undecodable`, before it takes more than `max_size` bytes."""
        if len(data) > self.max_size:  # compressed or not, for what does not shrink is not
            raise too_large(self.max_size)
        if compression := head[1]:
            return self._compressions[compression].decompress(data, self.max_size)
        return data

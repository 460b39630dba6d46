"""Makes payloads smaller, and never larger than was agreed when they are read."""

from __future__ import annotations

import zlib
from typing import Protocol

from escala.errors import ConfigError, Undecodable
from escala.kernel.wrong_value import not_among

_ZLIB_LEVEL = 1  # most of the gain in a fifth of the time


class Compression(Protocol):
    """One way to make bytes smaller."""

    number: int
    """How a payload's header names it; never reused, for old payloads stay around."""

    def compress(self, body: bytes) -> bytes:
        """Hopefully fewer bytes."""

    def decompress(self, data: memoryview, most: int) -> bytes:
        """What was compressed. `Undecodable` beyond `most` bytes, which are never allocated."""


class Zlib:
    """What comes with Python."""

    number = 1

    def compress(self, body: bytes) -> bytes:
        """Fast rather than small."""
        return zlib.compress(body, level=_ZLIB_LEVEL)

    def decompress(self, data: memoryview, most: int) -> bytes:
        """The body: all of the stream, and nothing behind it."""
        stream = zlib.decompressobj()
        try:
            body = stream.decompress(data, most + 1)
        except zlib.error as error:
            raise Undecodable(f"zlib: {error}") from error
        if len(body) > most:
            raise too_large(most)
        if not stream.eof or stream.unused_data:
            raise Undecodable("zlib: the stream does not end where the payload does")
        return body


class Zstd:
    """Smaller and faster than zlib; needs the package `zstandard`.

    Raises `ConfigError` when that is missing.
    """

    number = 2

    def __init__(self) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise ConfigError(
                "compression 'zstd' needs zstandard: pip install 'escala[zstd]'"
            ) from error
        self._zstandard = zstandard

    def compress(self, body: bytes) -> bytes:
        """A frame that says how large its content is."""
        return self._zstandard.ZstdCompressor().compress(body)

    def decompress(self, data: memoryview, most: int) -> bytes:
        """The body: of the size that its frame says, all of it, and nothing behind it."""
        zstandard = self._zstandard
        try:
            size = zstandard.get_frame_parameters(data).content_size
            if size > most:  # also when the frame does not say it, which ours do
                raise too_large(most)
            # One of these serves one thread at a time, so each call makes its own.
            reader = zstandard.ZstdDecompressor()
            body: bytes = reader.decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise Undecodable(f"zstd: {error}") from error
        return body


def compression_of(name: str) -> Compression:
    """The one of this name: "zlib", or "zstd" where the package `zstandard` is installed."""
    if name == "zlib":
        return Zlib()
    if name == "zstd":
        return Zstd()
    raise ConfigError(f"compression: {not_among('compressions', ('zlib', 'zstd'), name)}")


def numbered(number: int) -> Compression:
    """The one that a payload's header names; another process may have chosen it.

    Raises `Undecodable` for one that is unknown, or whose package is missing.
    """
    kinds: dict[int, type[Zlib | Zstd]] = {Zlib.number: Zlib, Zstd.number: Zstd}
    try:
        return kinds[number]()
    except (KeyError, ConfigError) as error:
        raise Undecodable(f"the payload's compression {number} cannot be read here") from error


def too_large(most: int) -> Undecodable:
    """The refusal of a payload that holds more than it may."""
    return Undecodable(f"the payload holds more than the {most} bytes of max_size")

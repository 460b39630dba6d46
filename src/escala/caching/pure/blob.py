"""The bytes that a shared store keeps for a key: when the value was made, its tags, and itself.

All numbers are big-endian, so that a script in the store can read them:

| at | what |
|---|---|
| 0 | `b"Es"`, u8 version, u8 flags: bit 0 says that the value is "there is none" |
| 4 | u32 crc32 over the key, the four bytes before, and all that follows |
| 8 | 8 bytes epoch, u64 clock: the store's mark when the load began |
| 24 | f64 born, f64 fresh, f64 stale, f32 took: seconds |
| 52 | u16 number of tags, then each as u16 length and UTF-8; then the payload |

The checksum finds what went wrong by accident. It does not find what was changed on purpose.
"""

from __future__ import annotations

from math import inf
from struct import Struct, error
from typing import NamedTuple
from zlib import crc32

_MAGIC = b"Es"
_VERSION = 1
_NEGATIVE = 1

_START = Struct(">2sBBI")
_REST = Struct(">8sQdddfH")
_LENGTH = Struct(">H")
_CHECKSUM_AT = 4
_TAGS_AT = _START.size + _REST.size

_CLOCKS = 2**53  # a script in the store counts in floats
_LONGEST_TAG = 2**16 - 1


class Mark(NamedTuple):
    """The store's view at the moment it was asked: which life, how many invalidations, what time.

    `epoch`: 8 random bytes, new when the store has lost its memory. `clock`: below 2**53. `now`:
    seconds on the store's clock.
    """

    epoch: bytes
    clock: int
    now: float


class Header(NamedTuple):
    """What is known of a value beside itself.

    `mark`: from before the load, so `mark.now` is when the value was born. `fresh`: seconds from
    then in which it may be given without a thought. `stale`: seconds after those in which it may
    still be given as stale. `took`: seconds that the load took, with seven digits. `negative`:
    the value is "there is none".
    """

    mark: Mark
    fresh: float
    stale: float
    took: float
    tags: tuple[str, ...]
    negative: bool


def pack(key: str, header: Header, payload: bytes) -> bytes:
    """One blob. `ValueError` for what a blob has no room for, such as a tag of 64 KiB."""
    (epoch, clock, born), fresh, stale, took, tags, negative = header
    if len(epoch) != 8 or not _in_range(clock, born, fresh, stale, took):  # noqa: PLR2004
        raise ValueError(f"expected an epoch of 8 bytes and times from zero up; found {header}")
    try:
        parts = [_REST.pack(epoch, clock, born, fresh, stale, took, len(tags))]
        for tag in tags:
            text = tag.encode(errors="surrogatepass")
            parts += _LENGTH.pack(len(text)), text
    except (error, OverflowError) as problem:
        raise ValueError(
            f"expected at most {_LONGEST_TAG} tags of at most {_LONGEST_TAG} bytes, and times that "
            f"a float holds; found {len(tags)} tags, the longest of "
            f"{max(map(len, tags), default=0)} characters, and {took!r} seconds"
        ) from problem
    flags = _NEGATIVE if negative else 0
    parts.append(payload)
    checksum = _checksum(key, b"%b%c%c" % (_MAGIC, _VERSION, flags), *parts)
    return b"".join((_START.pack(_MAGIC, _VERSION, flags, checksum), *parts))


def unpack(key: str, blob: bytes) -> tuple[Header, bytes] | None:
    """The header and the payload; `None` if this is not a whole blob of this key.

    Never raises, whatever the bytes are, and takes time and memory in proportion to their number.
    """
    if len(blob) < _TAGS_AT:
        return None
    magic, version, flags, checksum = _START.unpack_from(blob)
    if magic != _MAGIC or version != _VERSION or flags > _NEGATIVE:
        return None
    if _checksum(key, blob[:_CHECKSUM_AT], memoryview(blob)[_START.size :]) != checksum:
        return None
    epoch, clock, born, fresh, stale, took, count = _REST.unpack_from(blob, _START.size)
    if not _in_range(clock, born, fresh, stale, took):
        return None
    found = _tags(blob, count) if count else ((), _TAGS_AT)
    if found is None:
        return None
    tags, at = found
    mark = Mark(epoch, clock, born)
    return Header(mark, fresh, stale, took, tags, flags == _NEGATIVE), blob[at:]


def _checksum(key: str, start: bytes, *parts: bytes | memoryview) -> int:
    checksum = crc32(key.encode(errors="surrogatepass") + start)
    for part in parts:
        checksum = crc32(part, checksum)
    return checksum


def _in_range(clock: int, born: float, fresh: float, stale: float, took: float) -> bool:
    """Whether these are numbers to reckon with: NaN fails every comparison."""
    return 0 <= clock < _CLOCKS and abs(born) < inf and fresh >= 0 and stale >= 0 and took >= 0


def _tags(blob: bytes, count: int) -> tuple[tuple[str, ...], int] | None:
    """The tags, and where the payload begins; `None` if they are not whole."""
    tags, at = [], _TAGS_AT
    for _ in range(count):
        begin = at + _LENGTH.size
        if begin > len(blob):
            return None
        at = begin + _LENGTH.unpack_from(blob, begin - _LENGTH.size)[0]
        if at > len(blob):
            return None
        try:
            tags.append(blob[begin:at].decode(errors="surrogatepass"))
        except UnicodeDecodeError:
            return None
    return tuple(tags), at

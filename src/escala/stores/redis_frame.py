"""A script's call as it goes to Redis; of one with one key, all but the key is packed only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from hashlib import sha1
from typing import cast

from escala.stores.script_link import Word


def framed(script: str, keys: Sequence[Word], args: Sequence[Word]) -> bytes:
    """Pack an EVALSHA; one with one key and arguments seen before, at a third of the cost.

    Of numbers that are equal either may be written: 1 for 1.0.
    """
    if len(keys) == 1 and isinstance(args, tuple):
        key = keys[0]
        if isinstance(key, str):
            key = key.encode()
        if isinstance(key, bytes):
            head, tail = _around(script, len(key), args)
            return head + key + tail
    return _packed(("EVALSHA", _digest(script), len(keys), *keys, *args))


@lru_cache(maxsize=256)
def _around(script: str, length: int, args: tuple[Word, ...]) -> tuple[bytes, bytes]:
    """What goes before a key of so many bytes, and what goes after it."""
    before = _body(("EVALSHA", _digest(script), 1))
    head = b"*%d\r\n%b$%d\r\n" % (4 + len(args), before, length)
    return head, b"\r\n" + _body(args)


@lru_cache(maxsize=256)
def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def _body(words: tuple[Word, ...]) -> bytes:
    """The words packed, without their number."""
    return _packed(words).partition(b"\r\n")[2]


def _packed(words: tuple[Word, ...]) -> bytes:
    return _packer()(words)


@cache
def _packer() -> Callable[[tuple[Word, ...]], bytes]:
    from hiredis import pack_command

    return cast("Callable[[tuple[Word, ...]], bytes]", pack_command)  # its types name one word

"""Signals as text of a limited length: what NOTIFY of PostgreSQL carries, 7999 bytes at a time."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence

_MOST = 7900  # characters of a piece; the numbers before it have the rest
_PARTS = 4


def notices(texts: Sequence[bytes], message: int = 0) -> list[str]:
    """One message in pieces `<message> <nth> <last> <piece>`, all of one transaction and in order.

    The numbers keep pieces apart that are otherwise the same: those would be sent once.

    >>> notices([b"a1 key 0 0 ann", b"a1 tag 0 0 t"])
    ['0 0 0 YTEga2V5IDAgMCBhbm4=,YTEgdGFnIDAgMCB0']
    """
    whole = b",".join(map(b64encode, texts)).decode()
    pieces = [whole[at : at + _MOST] for at in range(0, len(whole), _MOST)]
    return [f"{message} {nth} {len(pieces) - 1} {piece}" for nth, piece in enumerate(pieces)]


class Notices:
    """Puts the pieces together again."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._next: tuple[bytes, int, bytes] | None = None

    def add(self, payload: bytes) -> list[bytes]:
        """The texts of a message with its last piece, before that none.

        `ValueError` for what is not the next piece: then something has been missed, or someone
        else speaks.
        """
        awaited, self._next = self._next, None
        parts = payload.split(b" ")
        if len(parts) != _PARTS or not (parts[1].isdigit() and parts[2].isdigit()):
            raise ValueError(f"expected a piece of a message, found {payload[:80]!r}")
        message, nth, last, piece = parts[0], int(parts[1]), parts[2], parts[3]
        if nth == 0:
            self._pieces = []
        if awaited != ((message, nth, last) if nth else None):
            self._pieces = []
            raise ValueError(f"expected {awaited or 'the first piece'}, found {payload[:80]!r}")
        self._pieces.append(piece)
        if nth < int(last):
            self._next = (message, nth + 1, last)
            return []
        whole, self._pieces = b"".join(self._pieces), []
        try:
            return [b64decode(text, validate=True) for text in whole.split(b",")]
        except binascii.Error as error:
            raise ValueError(f"expected base64, found {whole[:80]!r}") from error

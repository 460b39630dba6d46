"""Blobs on their way into PostgreSQL, with what their headers say beside them."""

from __future__ import annotations

from collections.abc import Sequence

from escala.caching.postgres_names import place_of, tag_of, told
from escala.caching.pure.blob import unpack
from escala.caching.value_store import Put, Signal
from escala.stores.postgres_binary import BYTEA, TEXT, array, floats

_LONGEST = 3e8  # seconds: for ever, and still a number to reckon with
_LATEST = 100 * _LONGEST
_NUMBERS = 5  # of each: clock, born, fresh, stale, keep


class Puts:
    """The arguments of `escala_value_store_1`, but for the first and the last.

    In the order of the places, as rows are locked. What is no whole blob goes without one, so
    that its lease ends. With a writer, others are told of each that is kept.
    """

    def __init__(self, cache: bytes, puts: Sequence[Put], writer: str | None) -> None:
        self._order = sorted(
            range(len(puts)), key=[place_of(cache, put.key) for put in puts].__getitem__
        )
        self._blobs: list[bytes | None] = []
        self._epochs: list[bytes | None] = []
        self._numbers: list[float] = []
        self._tags: list[bytes] = []
        self._counts: list[float] = []
        self._told: list[bytes] = []
        self._whose: list[float] = []
        self._places = [place_of(cache, puts[nth].key) for nth in self._order]
        self._tokens = [puts[nth].token for nth in self._order]
        for at, nth in enumerate(self._order, 1):
            self._add(puts[nth])
            if writer is not None:
                pieces = told(writer, [Signal("key", puts[nth].key)], at)
                self._told += pieces
                self._whose += [at] * len(pieces)

    def _add(self, put: Put) -> None:
        whole = unpack(put.key, put.blob)
        if whole is None:
            self._blobs.append(None)
            self._epochs.append(None)
            self._numbers += [0.0] * _NUMBERS
            self._counts.append(0)
            return
        (epoch, clock, born), fresh, stale, _, tags, _ = whole[0]
        self._blobs.append(put.blob)
        self._epochs.append(epoch)
        self._numbers += float(clock), max(-_LATEST, min(born, _LATEST))
        self._numbers += (min(seconds, _LONGEST) for seconds in (fresh, stale, put.keep))
        self._tags += map(tag_of, tags)
        self._counts.append(len(tags))

    @property
    def packed(self) -> tuple[bytes, ...]:
        """As arrays."""
        return (
            array(BYTEA, self._places),
            array(BYTEA, self._tokens),
            array(BYTEA, self._blobs),
            array(BYTEA, self._epochs),
            floats(self._numbers),
            array(BYTEA, self._tags),
            floats(self._counts),
            array(TEXT, self._told),
            floats(self._whose),
        )

    def kept(self, answer: bytes) -> list[bool]:
        """Which were kept, in the caller's order."""
        found = [False] * len(self._order)
        for nth, each in zip(self._order, answer, strict=True):
            found[nth] = each == ord("1")
        return found

"""Stored answers as the bytes that gateways share, and how answers of one URL are told apart."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Final, TypeAlias

import msgspec

from escala.caching.pure.blob import Header, Mark, pack, unpack
from escala.http.pure.fields import Headers
from escala.http.pure.freshness import Windows
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.pure.vary import Names, Values, vary_values

PRIVATE_FOR: Final = 10.0  # how long others are told not to wait for a URL's answer
_INDEX_FOR: Final = 86400.0
_VERIFIABLE_FOR: Final = 3600.0  # after its freshness, so that the origin can confirm it
_DIGEST: Final = 16


class Record(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What is written of a `StoredAnswer`; its windows count from when it was born."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    headers: list[tuple[bytes, bytes]]
    body: bytes
    etag: bytes | None
    last_modified: bytes | None
    modified: float
    vary: Names
    values: Values
    fresh: float
    stale: float
    rescue: float
    yields: bool
    for_the_authorized: bool
    for_the_known: bool


class Index(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Stands where a URL's answer would if that did not vary: by what it does, and where they are.

    `life` are random bytes, which the places of all variants are made of. So who deletes the
    index, or replaces it, deletes them all.
    """

    names: Names
    life: bytes

    def place(self, headers: Headers) -> str:
        """Where the answer for a request with these headers is."""
        said = msgspec.msgpack.encode(vary_values(self.names, headers))
        return f"{self.life.hex()} {blake2b(said, digest_size=_DIGEST).hexdigest()}"


class Private(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The last answer was for one client alone, so no one should wait for another's."""


Kept: TypeAlias = Record | Index | Private

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Kept)


def record_of(answer: StoredAnswer) -> Record:
    """What is written of an answer."""
    spans = answer.windows
    return Record(
        status=answer.status,
        headers=list(answer.headers),
        body=answer.body,
        etag=answer.etag,
        last_modified=answer.last_modified,
        modified=answer.modified,
        vary=answer.vary,
        values=answer.values,
        fresh=spans.fresh - spans.born,
        stale=spans.stale - spans.born,
        rescue=spans.rescue - spans.born,
        yields=spans.yields,
        for_the_authorized=answer.for_the_authorized,
        for_the_known=answer.for_the_known,
    )


def answer_of(key: bytes, record: Record, *, age: float, now: float) -> StoredAnswer:
    """The answer again, `age` seconds old at `now`."""
    answer = StoredAnswer.__new__(StoredAnswer)
    answer.key, answer.status, answer.body = key, record.status, record.body
    answer.headers = record.headers
    answer.etag, answer.last_modified = record.etag, record.last_modified
    answer.modified = record.modified
    answer.vary, answer.values = record.vary, record.values
    answer.for_the_authorized = record.for_the_authorized
    answer.for_the_known = record.for_the_known
    born = now - age
    answer.windows = Windows(
        born=born,
        fresh=born + record.fresh,
        stale=born + record.stale,
        rescue=born + record.rescue,
        yields=record.yields,
    )
    answer.known_at = now
    answer.complete()
    return answer


def packed(place: str, kept: Kept, mark: Mark, *, age: float) -> tuple[bytes, float]:
    """The blob, and for how many seconds the store is to keep it.

    `age` is how old it was at `mark`, from before it was asked for.
    """
    fresh, stale = _spans(kept)
    born = mark._replace(now=mark.now - age)
    header = Header(born, fresh, stale, 0.0, (), negative=False)
    return pack(place, header, _ENCODER.encode(kept)), max(0.0, fresh + stale - age)


def _spans(kept: Kept) -> tuple[float, float]:
    """Seconds from its birth in which the store takes it for fresh, and after those for stale."""
    if isinstance(kept, Index):
        return _INDEX_FOR, 0.0
    if isinstance(kept, Private):
        return PRIVATE_FOR, 0.0
    fresh = max(0.0, kept.fresh)
    stale = max(kept.stale, kept.rescue, fresh) - fresh
    verifiable = kept.etag is not None or kept.last_modified is not None
    return fresh, max(stale, _VERIFIABLE_FOR) if verifiable else stale


def unpacked(place: str, blob: bytes, mark: Mark) -> tuple[Kept, float] | None:
    """What is in a blob, and how old it is at `mark`; None if it is none of this place."""
    whole = unpack(place, blob)
    if whole is None:
        return None
    header, payload = whole
    try:
        kept: Kept = _DECODER.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    return kept, max(0.0, mark.now - header.mark.now)

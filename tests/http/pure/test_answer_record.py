from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.blob import Header, Mark, pack, unpack
from escala.http.pure.admission import Arrival, Terms, admit
from escala.http.pure.answer_record import (
    PRIVATE_FOR,
    Index,
    Private,
    Record,
    answer_of,
    packed,
    record_of,
    unpacked,
)
from escala.http.pure.asked import Asked
from escala.http.pure.stored_answer import StoredAnswer

MARK = Mark(b"epoch-of", 7, 1000.0)
Lines = list[tuple[bytes, bytes]]


def stored(
    *lines: tuple[bytes, bytes], request: Lines | None = None, body: bytes = b"page"
) -> StoredAnswer:
    arrival = Arrival(wall=1_750_000_000.0, now=50.0, delay=0.0)
    admission = admit("GET", Asked(), 200, list(lines), arrival=arrival, terms=Terms())
    return StoredAnswer(
        b"k", 200, list(lines), body, asked_with=request or [], admission=admission, known_at=49.0
    )


def record(control: bytes, *lines: tuple[bytes, bytes]) -> Record:
    return record_of(stored((b"cache-control", control), *lines))


ANSWERS = [
    stored((b"cache-control", b"max-age=60"), (b"etag", b'"1"'), (b"x-a", b"1"), (b"x-a", b"2")),
    stored((b"cache-control", b"public, max-age=60, stale-if-error=9"), (b"age", b"5")),
    stored((b"cache-control", b"no-cache"), (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT")),
    stored(
        (b"cache-control", b"s-maxage=6"),
        (b"vary", b"accept, x-y"),
        request=[(b"accept", b"a/b")],
        body=b"",
    ),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_comes_back_as_it_was(answer: StoredAnswer) -> None:
    again = answer_of(b"k", record_of(answer), age=50.0 - answer.windows.born, now=50.0)
    for name in StoredAnswer.__slots__:
        if name != "known_at":
            assert getattr(again, name) == getattr(answer, name), name
    assert again.known_at == 50.0


def test_its_windows_move_with_its_age() -> None:
    kept = record(b"max-age=60, stale-while-revalidate=30, stale-if-error=100")
    spans = answer_of(b"k", kept, age=10.0, now=500.0).windows
    assert (spans.born, spans.fresh, spans.stale, spans.rescue) == (490.0, 550.0, 580.0, 650.0)
    never = answer_of(b"k", record(b"no-cache", (b"etag", b'"1"')), age=10.0, now=500.0).windows
    assert (never.fresh, never.rescue, never.yields) == (-math.inf, -math.inf, False)


@pytest.mark.parametrize(
    ("kept", "fresh", "stale"),
    [
        (record(b"max-age=60"), 60.0, 0.0),
        (record(b"max-age=60, stale-while-revalidate=30"), 60.0, 30.0),
        (record(b"max-age=60, stale-if-error=40"), 60.0, 40.0),
        (record(b"max-age=60, stale-if-error=40, stale-while-revalidate=30"), 60.0, 40.0),
        (record(b"max-age=60, stale-if-error=20, stale-while-revalidate=30"), 60.0, 30.0),
        (record(b"max-age=60", (b"etag", b'"1"')), 60.0, 3600.0),
        (
            record(b"max-age=60", (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT")),
            60.0,
            3600.0,
        ),
        (record(b"max-age=60, stale-if-error=9000", (b"etag", b'"1"')), 60.0, 9000.0),
        (record(b"no-cache", (b"etag", b'"1"')), 0.0, 3600.0),
        (Private(), 10.0, 0.0),
        (Index((b"accept",), b"life"), 86400.0, 0.0),
    ],
)
def test_how_long_the_store_keeps_what(kept: Any, fresh: float, stale: float) -> None:
    blob, keep = packed("k", kept, MARK, age=7.0)
    whole = unpack("k", blob)
    assert whole is not None
    assert whole[0] == Header(MARK._replace(now=993.0), fresh, stale, 0.0, (), negative=False)
    assert keep == max(0.0, fresh + stale - 7.0)
    assert packed("k", kept, MARK, age=1e9)[1] == 0.0
    assert unpacked("k", blob, MARK._replace(now=1005.0)) == (kept, 12.0)
    assert unpacked("k", blob, MARK._replace(now=5.0)) == (kept, 0.0), "of another clock"
    assert PRIVATE_FOR == 10.0


def test_variants_have_places_that_only_their_index_knows() -> None:
    index = Index((b"accept-language", b"x-y"), b"\x01\xff")
    german: Lines = [(b"accept-language", b"DE"), (b"cookie", b"1")]
    place = index.place(german)
    assert place.startswith("01ff ")
    assert place == index.place([(b"accept-language", b"de")])
    assert place != index.place([(b"accept-language", b"en")])
    assert place != index.place([(b"accept-language", b"de"), (b"x-y", b"")])
    assert place[5:] == Index(index.names, b"other").place(german).split(" ")[1]
    assert len(place) == 5 + 32


def test_a_blob_of_another_place_is_none_of_ours() -> None:
    blob, _ = packed("k", Private(), MARK, age=0.0)
    assert unpacked("j", blob, MARK) is None


DOUBTFUL = [
    [1, 99, [], b"", None, None, 0.0, [], [], 0.0, 0.0, 0.0, True, True, True],
    [1, 600, [], b"", None, None, 0.0, [], [], 0.0, 0.0, 0.0, True, True, True],
    [1, 200, [["a", b""]], b"", None, None, 0.0, [], [], 0.0, 0.0, 0.0, True, True, True],
    [1, 200, [], b"", None, None, 0.0, [], [], 0.0, 0.0, 0.0, True, True],
    [2, [b"accept"]],
    [4],
    [],
    None,
    {"a": 1},
]


@pytest.mark.parametrize("value", DOUBTFUL)
def test_a_payload_that_is_none_of_these_is_nothing(value: object) -> None:
    header = Header(MARK, 1.0, 0.0, 0.0, (), negative=False)
    assert unpacked("k", pack("k", header, msgspec.msgpack.encode(value)), MARK) is None


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 400), st.binary(max_size=4))
def test_no_bytes_are_ever_an_exception(payload: bytes, nth: int, at: int, change: bytes) -> None:
    header = Header(MARK, 1.0, 0.0, 0.0, (), negative=False)
    unpacked("k", payload, MARK)
    unpacked("k", pack("k", header, payload), MARK)
    kept = msgspec.msgpack.encode(record_of(ANSWERS[nth]))
    changed = kept[:at] + change + kept[at + len(change) :]
    unpacked("k", pack("k", header, changed), MARK)
    blob, _ = packed("k", record_of(ANSWERS[nth]), MARK, age=0.0)
    spoiled = blob[:at] + change + blob[at + len(change) :]
    if spoiled != blob:
        assert unpacked("k", spoiled, MARK) is None

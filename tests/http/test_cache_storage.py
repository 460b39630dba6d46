from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from escala.http.cache_storage import CacheStorage
from escala.http.pure.admission import Arrival, Terms, admit
from escala.http.pure.asked import NOTHING_ASKED, Asked
from escala.http.pure.reuse import Use, use
from escala.http.pure.stored_answer import StoredAnswer

Lines = list[tuple[bytes, bytes]]
FRESH = (b"cache-control", b"max-age=60")


def answer(
    key: bytes = b"k",
    body: bytes = b"",
    vary: bytes = b"",
    request: Lines | None = None,
    more: Lines | None = None,
) -> StoredAnswer:
    headers = [FRESH, *([(b"vary", vary)] if vary else []), *(more or [])]
    arrival = Arrival(wall=1_750_000_000.0, now=0.0, delay=0.0)
    admission = admit("GET", Asked(), 200, headers, arrival=arrival, terms=Terms())
    return StoredAnswer(key, 200, headers, body, asked_with=request or [], admission=admission)


def found(storage: CacheStorage, key: bytes, headers: Lines | None = None) -> StoredAnswer | None:
    return storage.find(key, NOTHING_ASKED, headers or [])


def test_what_is_put_is_found_and_counted_to_the_byte() -> None:
    storage = CacheStorage(100_000)
    one = answer(b"k", b"x" * 100)
    assert storage.put(one)
    assert found(storage, b"k") is one
    assert found(storage, b"other") is None
    assert storage.bytes == one.size == answer(b"k").size + 100
    assert answer(b"k" * 11).size == answer(b"k").size + 10
    assert storage.remove(one)
    assert not storage.remove(one)
    assert (storage.bytes, len(storage)) == (0, 0)


def test_a_newer_answer_takes_the_place_of_the_old() -> None:
    storage = CacheStorage(100_000)
    storage.put(answer(b"k", b"old"))
    new = answer(b"k", b"newer")
    storage.put(new)
    assert found(storage, b"k") is new
    assert (storage.bytes, len(storage), storage.evicted) == (new.size, 1, 0)


def test_an_answer_above_its_share_is_not_kept_and_pushes_nothing_out() -> None:
    storage = CacheStorage(80_000)
    assert storage.largest == 10_000
    small = answer(b"small")
    storage.put(small)
    fits = 10_000 - answer(b"large").size
    assert not storage.put(answer(b"large", b"x" * (fits + 1)))
    assert storage.put(answer(b"large", b"x" * fits))
    assert found(storage, b"small") is small


def test_the_least_recently_used_goes_first() -> None:
    size = answer(b"a").size
    storage = CacheStorage(3 * size, largest_share=1.0)
    for key in (b"a", b"b", b"c"):
        storage.put(answer(key))
    assert found(storage, b"a") is not None
    storage.put(answer(b"d"))
    assert [found(storage, key) is not None for key in (b"a", b"b", b"c", b"d")] == [
        True,
        False,
        True,
        True,
    ]
    assert storage.evicted == 1


def test_variants_are_told_apart_and_bounded() -> None:
    storage = CacheStorage(1_000_000, variants=3)
    answers = {}
    for language in (b"de", b"en", b"fr"):
        request = [(b"accept-language", language)]
        answers[language] = answer(b"k", language, b"accept-language", request)
        storage.put(answers[language])
    for language, one in answers.items():
        assert found(storage, b"k", [(b"accept-language", language)]) is one
    assert found(storage, b"k") is None
    storage.put(answer(b"k", b"it", b"accept-language", [(b"accept-language", b"it")]))
    assert found(storage, b"k", [(b"accept-language", b"de")]) is None  # stored longest ago
    assert len(storage) == 3
    assert storage.evicted == 1
    assert storage.variant(b"k", [(b"accept-language", b"EN")]) == (b"en",)
    assert storage.variant(b"x", []) == ()


def test_of_several_that_match_the_newest_counts() -> None:
    storage = CacheStorage(1_000_000)
    storage.put(answer(b"k", b"plain"))
    varied = answer(b"k", b"varied", b"accept-language", [(b"accept-language", b"de")])
    storage.put(varied)
    assert found(storage, b"k", [(b"accept-language", b"de")]) is varied
    plain = found(storage, b"k", [(b"accept-language", b"en")])
    assert plain is not None
    assert plain.body == b"plain"
    assert storage.variant(b"k", []) == (None,)  # as the newest has it


def test_forgetting_takes_all_variants_and_doubt_keeps_them() -> None:
    storage = CacheStorage(1_000_000)
    for language in (b"de", b"en"):
        request = [(b"accept-language", language)]
        storage.put(answer(b"k", language, b"accept-language", request))
    storage.put(answer(b"other"))
    storage.doubt(b"k")
    doubted = found(storage, b"k", [(b"accept-language", b"de")])
    assert doubted is not None
    assert use(doubted.windows, Asked().control, now=1) is Use.NONE
    assert storage.forget(b"k") == 2
    assert storage.forget(b"k") == 0
    assert found(storage, b"other") is not None
    storage.clear()
    assert (len(storage), storage.bytes) == (0, 0)
    assert found(storage, b"other") is None


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
LANGUAGES = st.sampled_from([b"de", b"en", b"fr"])


class StorageModel(RuleBasedStateMachine):
    """A list, the least recently used first, is what the storage must behave like."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = CacheStorage(12_000, largest_share=0.5, variants=2)
        self.model: list[StoredAnswer] = []
        self.stored_order: list[StoredAnswer] = []

    def lose(self, gone: StoredAnswer) -> None:
        self.model.remove(gone)
        self.stored_order.remove(gone)

    @rule(key=KEYS, size=st.integers(0, 7000), language=st.none() | LANGUAGES)
    def put(self, key: bytes, size: int, language: bytes | None) -> None:
        request = [] if language is None else [(b"accept-language", language)]
        vary = b"" if language is None else b"accept-language"
        one = answer(key, b"x" * size, vary, request)
        kept = self.storage.put(one)
        assert kept == (one.size <= 6000)
        if not kept:
            return
        same = [other for other in self.model if other.key == key]
        for other in same:
            if (other.vary, other.values) == (one.vary, one.values):
                self.lose(other)
        same = [other for other in self.stored_order if other.key == key]
        if len(same) >= 2:
            self.lose(same[0])
        while sum(other.size for other in self.model) + one.size > 12_000:
            self.lose(self.model[0])
        self.model.append(one)
        self.stored_order.append(one)

    @rule(key=KEYS, language=st.none() | LANGUAGES)
    def find(self, key: bytes, language: bytes | None) -> None:
        headers = [] if language is None else [(b"accept-language", language)]
        matching = [
            other
            for other in reversed(self.stored_order)
            if other.key == key and other.matches(NOTHING_ASKED, headers)
        ]
        expected = matching[0] if matching else None
        assert self.storage.find(key, NOTHING_ASKED, headers) is expected
        if expected is not None:
            self.model.remove(expected)
            self.model.append(expected)

    @rule(key=KEYS)
    def forget(self, key: bytes) -> None:
        gone = [other for other in self.model if other.key == key]
        assert self.storage.forget(key) == len(gone)
        for other in gone:
            self.lose(other)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            one = data.draw(st.sampled_from(self.model))
            assert self.storage.remove(one)
            assert not self.storage.remove(one)
            self.lose(one)

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert list(self.storage._order) == self.model
        assert self.storage.bytes == sum(one.size for one in self.model) <= 12_000
        assert len(self.storage) == len(self.model)
        kept = sorted(map(id, (one for many in self.storage._answers.values() for one in many)))
        assert kept == sorted(map(id, self.model))
        assert all(self.storage._answers.values())


TestStorageModel = StorageModel.TestCase
TestStorageModel.settings = settings(max_examples=100, stateful_step_count=40)


@pytest.mark.parametrize(("lines", "size"), [(0, 10), (12, 1000), (40, 10)])
def test_what_is_charged_is_the_memory_that_is_taken_or_a_little_more(
    lines: int, size: int
) -> None:
    def store(number: int) -> None:
        headers = [(b"x-%d-%d" % (number, at), b"v-%d-%d" % (number, at)) for at in range(lines)]
        request = [(b"accept-encoding", b"g-%d" % number)]
        body = b"%04d" % number * (size // 4)
        storage.put(answer(b"k-%d" % number, body, b"accept-encoding", request, headers))

    storage = CacheStorage(10**9)
    store(9999)  # whatever is made only once is made now
    before = storage.bytes
    gc.collect()  # what other tests left is not ours
    tracemalloc.start()
    for number in range(400):
        store(number)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    charged = storage.bytes - before
    assert 0.7 * charged < taken < charged, (charged / 400, taken / 400)

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
    assert storage.weight == one.size == answer(b"k").size + 100
    assert answer(b"k" * 11).size == answer(b"k").size + 10
    assert storage.remove(one)
    assert not storage.remove(one)
    assert (storage.weight, len(storage)) == (0, 0)


def test_a_newer_answer_takes_the_place_of_the_old() -> None:
    storage = CacheStorage(100_000)
    storage.put(answer(b"k", b"old"))
    new = answer(b"k", b"newer")
    storage.put(new)
    assert found(storage, b"k") is new
    assert (storage.weight, len(storage), storage.evicted) == (new.size, 1, 0)


def test_an_answer_above_its_share_is_not_kept_and_pushes_nothing_out() -> None:
    storage = CacheStorage(80_000)
    assert storage.largest == 10_000
    small = answer(b"small")
    storage.put(small)
    fits = 10_000 - answer(b"large").size
    assert not storage.put(answer(b"large", b"x" * (fits + 1)))
    assert storage.put(answer(b"large", b"x" * fits))
    assert found(storage, b"small") is small


def test_a_scan_pushes_out_nothing_that_is_asked_for() -> None:
    storage = CacheStorage(100 * answer(b"hot/1").size)
    hot = [b"hot/%d" % number for number in range(50)]
    for key in hot:
        storage.put(answer(key))
        for _ in range(2):
            assert found(storage, key) is not None
    for number in range(10_000):
        storage.put(answer(b"scan/%d" % number))
    assert all(found(storage, key) is not None for key in hot)
    assert storage.evicted > 9_000
    assert storage.weight <= storage.size


def test_a_page_that_is_no_longer_asked_for_goes() -> None:
    storage = CacheStorage(100 * answer(b"hot/1").size)
    storage.put(answer(b"old"))
    for _ in range(5):
        assert found(storage, b"old") is not None
    for round_ in range(8):
        for number in range(200):
            key = b"new/%d/%d" % (round_, number)
            storage.put(answer(key))
            for _ in range(2):
                found(storage, key)
    assert found(storage, b"old") is None


def test_what_is_past_all_use_goes_before_what_is_not() -> None:
    size = answer(b"k1").size
    storage = CacheStorage(20 * size)

    def put(key: bytes, *, tag: bool, now: float) -> None:
        more = [(b"etag", b'"1"')] if tag else [(b"x-pad", b'"1"')]
        storage.put(answer(key, more=more), now=now)
        for _ in range(3):
            found(storage, key)

    for number in range(5):
        put(b"a%d" % number, tag=False, now=0)
        put(b"b%d" % number, tag=True, now=0)
    for number in range(30):
        put(b"c%d" % number, tag=True, now=60)
    assert not any(found(storage, b"a%d" % number) for number in range(5))


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
    assert found(storage, b"k", [(b"accept-language", b"en")]) is not None
    assert len(storage) == 1
    assert storage.evicted == 1
    assert storage.variant(b"k", [(b"accept-language", b"EN")]) == (b"en",)
    assert storage.variant(b"x", []) == ()


def test_all_variants_of_a_key_have_the_share_of_one_answer() -> None:
    storage = CacheStorage(80_000)
    languages = (b"de", b"en", b"fr", b"it")
    room = storage.largest // 3 - answer(b"k", b"", b"accept-language").size - 200
    for language in languages:
        request = [(b"accept-language", language)]
        assert storage.put(answer(b"k", b"x" * room, b"accept-language", request))
    there = [found(storage, b"k", [(b"accept-language", each)]) is not None for each in languages]
    assert there == [False, True, True, True]
    assert storage.evicted == 1


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
    assert (len(storage), storage.weight) == (0, 0)
    assert found(storage, b"other") is None


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
LANGUAGES = st.sampled_from([b"de", b"en", b"fr"])


class StorageModel(RuleBasedStateMachine):
    """Whatever has to leave: what is left is what was put, the newest of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = CacheStorage(48_000, variants=2)
        self.model: dict[bytes, list[StoredAnswer]] = {}  # the newest first
        self.evicted = 0

    @rule(key=KEYS, size=st.integers(0, 7000), language=st.none() | LANGUAGES)
    def put(self, key: bytes, size: int, language: bytes | None) -> None:
        request = [] if language is None else [(b"accept-language", language)]
        vary = b"" if language is None else b"accept-language"
        one = answer(key, b"x" * size, vary, request)
        kept = self.storage.put(one)
        assert kept == (one.size <= 6000)
        if not kept:
            return
        said = one.vary, one.values
        before = [each for each in self.model.get(key, []) if (each.vary, each.values) != said]
        self.model[key] = [one, *before]
        wanted = sum(each.size for many in self.model.values() for each in many)
        fits = len(before) < 2 and sum(each.size for each in self.model[key]) <= 6000
        if fits and wanted <= 48_000:
            assert self.storage.evicted == self.evicted
        for other, answers in list(self.model.items()):
            entry = self.storage._fifo.table.get(other)
            left = [] if entry is None else list(entry.value)
            if left:
                assert left == answers[: len(left)]
                self.model[other] = left
            else:
                assert other != key, "what was put is there"
                del self.model[other]
            if other != key:
                assert len(left) in (0, len(answers)), "a key leaves as a whole"
        self.evicted = self.storage.evicted

    @rule(key=KEYS, language=st.none() | LANGUAGES)
    def find(self, key: bytes, language: bytes | None) -> None:
        headers = [] if language is None else [(b"accept-language", language)]
        there = self.model.get(key, [])
        expected = next((one for one in there if one.matches(NOTHING_ASKED, headers)), None)
        assert self.storage.find(key, NOTHING_ASKED, headers) is expected

    @rule(key=KEYS)
    def forget(self, key: bytes) -> None:
        assert self.storage.forget(key) == len(self.model.pop(key, []))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            key = data.draw(st.sampled_from(sorted(self.model)))
            one = data.draw(st.sampled_from(self.model[key]))
            assert self.storage.remove(one)
            assert not self.storage.remove(one)
            self.model[key].remove(one)
            if not self.model[key]:
                del self.model[key]

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        table = self.storage._fifo.table
        assert {key: list(entry.value) for key, entry in table.items()} == self.model
        sizes = [sum(one.size for one in many) for many in self.model.values()]
        assert self.storage.weight == sum(sizes) <= 48_000
        assert all(size <= 6000 for size in sizes)
        assert len(self.storage) == len(self.model)


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
    before = storage.weight
    gc.collect()  # what other tests left is not ours
    tracemalloc.start()
    for number in range(400):
        store(number)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    charged = storage.weight - before
    assert 0.7 * charged < taken < charged, (charged / 400, taken / 400)

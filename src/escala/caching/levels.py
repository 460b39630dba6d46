"""Both levels of a cache, and how values go from one to the other."""

from __future__ import annotations

import math
import random
import sys
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NamedTuple

from escala.caching.codec import Codec
from escala.caching.events import CacheUndecodable
from escala.caching.first_level import FirstLevel
from escala.caching.l1 import L1
from escala.caching.loaded import Loaded, TtlOfResult
from escala.caching.named import marked
from escala.caching.origin import Origin
from escala.caching.pure.blob import Header, Mark, pack, unpack
from escala.caching.pure.entry import ABSENT, Entry, Terms, WeighedEntry
from escala.caching.pure.lifetime import Lifetime
from escala.caching.pure.use import early_by
from escala.caching.rules import Rules, Times
from escala.caching.second_level import SecondLevel
from escala.caching.tag_names import namespace
from escala.caching.tally import Tally
from escala.caching.value_store import Found, Put
from escala.errors import Undecodable
from escala.kernel.events import publish
from escala.kernel.wrong_value import WrongValue

_MOST_TERMS = 8192
_MOST_TAGS = 1024
_TOOK_STEP = math.log(1.25)
_ONCE = (GeneratorType, CoroutineType, AsyncGeneratorType)


class Made(NamedTuple):
    """A value as an entry, and what the second level is to be told of it."""

    entry: Entry
    fresh: float
    stale: float
    took: float
    tags: tuple[str, ...]
    payload: bytes | None

    @property
    def keep(self) -> bool:
        """Whether it may be kept at all."""
        return self.fresh > 0


class Levels:
    """What the parts of one cache share: its levels, its counts, its chance."""

    def __init__(
        self,
        name: str,
        l1: L1 | None,
        second: SecondLevel | None,
        codec: Codec,
        *,
        largest: int,
        rng: random.Random,
        origin: Origin | None = None,
    ) -> None:
        self.origin = origin
        self.name, self.l1, self.second, self.codec = name, l1, second, codec
        self.first = FirstLevel(l1)
        self.tally = Tally()
        self.largest = largest
        self.longest = 0.0  # seconds that a load took
        self.draw = rng.random
        self._weigh = l1.weigh or weigh if l1 is not None and l1.max_weight is not None else None
        self._terms: dict[tuple[float, ...], Terms] = {}
        self._tags: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    # Making entries

    def entry(
        self,
        key: str,
        value: Any,  # noqa: ANN401
        terms: Terms,
        tags: tuple[str, ...],
        fresh_until: float,
    ) -> Entry:
        """An entry of the first level."""
        until = fresh_until - terms.early
        if self._weigh is None:
            return Entry(key, value, until=until, terms=terms, tags=tags)
        weight = max(1, int(self._weigh(value)))
        return WeighedEntry(key, value, until=until, terms=terms, tags=tags, weight=weight)

    def terms(self, times: Times, *, fresh: float, took: float, whole: bool = True) -> Terms:
        """Terms that entries can share. `whole`: with the stale windows."""
        early = 0.0
        if times.refresh_early and whole and took > 0:
            took = math.exp(round(math.log(took) / _TOOK_STEP) * _TOOK_STEP)
            early = early_by(took, fresh)
        else:
            took = 0.0
        revalidate = float(times.stale_while_revalidate) if whole else 0.0
        rescue = float(times.stale_if_error) if whole else 0.0
        shared = self._terms.get((fresh, revalidate, rescue, took, early, 0.0))
        if shared is None:
            if len(self._terms) >= _MOST_TERMS:
                self._terms.clear()
            shared = Terms(fresh, revalidate, rescue, took, early)
            self._terms[shared] = shared
        return shared

    def made(
        self,
        key: str,
        value: Any,  # noqa: ANN401
        rules: Rules,
        *,
        born: float,
        took: float,
        encode: bool,
    ) -> Made:
        """What becomes of a value that was loaded, or set. Raises what users' functions raise."""
        times, said, tags = rules.times, None, self._shared_tags(namespace(key), rules.tags)
        if type(value) is Loaded:
            said, tags, value = value.ttl, tags + marked(value.tags), value.value
        if isinstance(value, _ONCE):
            raise TypeError(
                f"{self.name}: expected a value that can be given more than once, found a "
                f"{type(value).__name__} for {key!r}"
            )
        fresh = self._fresh(value, rules, said)
        absent = value is ABSENT
        if rules.tags_of is not None and not absent:
            tags += marked(rules.tags_of(value))
        terms = own = self.terms(times, fresh=fresh, took=took)
        cut = self.cut(times)
        if cut < fresh:
            own = self.terms(times, fresh=cut, took=0.0, whole=False)
        entry = self.entry(key, value, own, tags, born + own.fresh)
        payload = None
        if encode and fresh > 0:
            payload = b"" if absent else self.codec.dumps(value, rules.kind, key)
        stale = max(terms.revalidate, terms.rescue)
        return Made(entry, fresh, stale, took, tags, payload)

    def cut(self, times: Times) -> float:
        """The longest that the first level may keep what it has."""
        if self.second is None:
            return math.inf
        return min(times.l1_ttl or math.inf, self.first.bound or math.inf)

    def _shared_tags(self, name: str, tags: tuple[str, ...]) -> tuple[str, ...]:
        """The tags that all values of one memo have, as one tuple for all of them."""
        place = (name, tags)
        shared = self._tags.get(place)
        if shared is None:
            if len(self._tags) >= _MOST_TAGS:
                self._tags.clear()
            shared = self._tags[place] = (name, *tags)
        return shared

    def _fresh(self, value: Any, rules: Rules, said: TtlOfResult) -> float:  # noqa: ANN401
        times, lifetime = rules.times, rules.times.ttl
        if said is None:
            if (value is None or value is ABSENT) and times.negative_ttl is not None:
                return times.negative_ttl
            if rules.ttl_of is not None:
                said = rules.ttl_of(value)
        if said is not None:
            if isinstance(said, (int, float)) and said <= 0:
                return 0.0
            try:
                lifetime = Lifetime(said)
            except WrongValue as error:
                raise ValueError(f"{self.name}: ttl of the result: {error}") from None
        return lifetime.drawn(self.draw())

    def put(self, key: str, made: Made, mark: Mark | None, lease: bytes | None) -> Put | None:
        """What to give the second level; None if it may not have it, or it is too large."""
        payload = made.payload
        if payload is None or mark is None or lease is None or len(payload) > self.largest:
            return None
        header = Header(
            mark=mark,
            fresh=made.fresh,
            stale=made.stale,
            took=made.took,
            tags=made.tags,
            negative=made.entry.value is ABSENT,
        )
        return Put(key, lease, pack(key, header, payload), made.fresh + made.stale)

    # Reading entries

    def read(self, key: str, found: Found, rules: Rules, *, now: float) -> Entry | None:
        """The entry in a blob; None if there is no blob, or, and told, none of this key in it."""
        if found.blob is None:
            return None
        mark, expired = found.mark, found.expired
        try:
            whole = found.whole or unpack(key, found.blob)
            if whole is None:
                raise Undecodable("it is cut, damaged, or of another key")  # noqa: TRY301
            header, payload = whole
            value = ABSENT if header.negative else self.codec.loads(payload, rules.kind, key)
        except Exception as error:  # noqa: BLE001  of a codec of the user's: what it holds is lost
            cause = str(error) if isinstance(error, Undecodable) else repr(error)
            self.tally.undecodable += 1
            publish(CacheUndecodable(name=self.name, at=now, key=key, cause=cause))
            return None
        age = max(0.0, mark.now - header.mark.now)
        fresh = min(header.fresh, age) if expired else header.fresh
        times = rules.times
        terms = self.terms(times, fresh=fresh, took=header.took)
        fresh_until = now - age + fresh
        if expired:
            fresh_until = min(fresh_until, now)  # sums of floats may end a little later
        cut = self.cut(times)
        if now + cut < fresh_until:
            fresh_until = now + cut
            terms = self.terms(times, fresh=age + cut, took=0.0, whole=False)
        tags = header.tags
        if len(tags) == 1:
            tags = self._shared_tags(tags[0], ())
        return self.entry(key, value, terms, tags, fresh_until)


def weigh(value: object) -> int:
    """The bytes of text, bytes and arrays; of other objects what Python says of them alone."""
    if isinstance(value, (bytes, bytearray, str)):
        return len(value) + 50
    size = getattr(value, "nbytes", None)
    return size if isinstance(size, int) else sys.getsizeof(value)

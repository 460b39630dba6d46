"""Where answers are kept: in memory, counted in bytes, those that no one asks for leaving first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from escala.caching.pure.entry import MOST_VISITS, Entry, Terms, WeighedEntry
from escala.caching.pure.s3_fifo import S3Fifo
from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.pure.vary import Values, vary_values

VARIANTS = 16
_TERMS: Final = Terms(fresh=0.0)  # an entry's `until` says it all


class CacheStorage:
    """Answers by key, several for a key whose answers vary; never more than `size` bytes.

    - `size` covers key, headers, body and a fixed overhead for each entry (`StoredAnswer.size`).
    - A key takes at most `largest` bytes, an eighth of `size`: larger answers are not kept, and
      when several are together, those stored longest ago go.
    - A key has at most `variants` answers, since clients choose the headers that answers vary by.
    - Keys leave by S3-FIFO: a crawler that asks for each page once pushes out no other.

    Every operation takes constant time. Not locked: its owner serialises the calls.
    """

    __slots__ = ("_dropped", "_fifo", "_variants", "largest", "size")

    def __init__(self, size: int, *, variants: int = VARIANTS) -> None:
        self.size = size
        self._fifo = S3Fifo(max_entries=None, max_weight=size)
        self.largest = self._fifo.heaviest
        self._variants = variants
        self._dropped = 0

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._fifo.table)

    @property
    def weight(self) -> int:
        """The bytes that all answers take."""
        return self._fifo.weight

    @property
    def evicted(self) -> int:
        """How many keys and variants had to leave."""
        return self._fifo.evicted + self._dropped

    def find(self, key: bytes, asked: Asked, headers: Headers) -> StoredAnswer | None:
        """The newest answer that may be given to such a request, fresh or not."""
        entry = self._fifo.table.get(key)
        if entry is None:
            return None
        for answer in _answers(entry):
            if answer.matches(asked, headers):
                if entry.visits < MOST_VISITS:
                    entry.visits += 1
                return answer
        return None

    def variant(self, key: bytes, headers: Headers) -> Values:
        """What sets this request apart from others for the key, as far as answers have told."""
        entry = self._fifo.table.get(key)
        if entry is None:
            return ()
        newest = _answers(entry)[0]
        return vary_values(newest.vary, headers) if newest.vary else ()

    def put(self, answer: StoredAnswer, *, now: float = -math.inf) -> bool:
        """Keep it, in place of the one for the same requests; False if it is too large."""
        if answer.size > self.largest:
            return False
        said = answer.vary, answer.values
        before = _answers(self._fifo.table.get(answer.key))
        kept = [answer, *(each for each in before if (each.vary, each.values) != said)]
        while len(kept) > self._variants or sum(each.size for each in kept) > self.largest:
            kept.pop()
            self._dropped += 1
        self._fifo.put(_entry(answer.key, kept), now)
        return True

    def remove(self, answer: StoredAnswer) -> bool:
        """Let go of this very answer; False if it had gone before."""
        before = _answers(self._fifo.table.get(answer.key))
        kept = [other for other in before if other is not answer]
        if len(kept) == len(before):
            return False
        if kept:
            self._fifo.put(_entry(answer.key, kept))
        else:
            self._fifo.remove(answer.key)
        return True

    def forget(self, key: bytes) -> int:
        """Let go of all answers for a key; how many there were."""
        return len(_answers(self._fifo.remove(key)))

    def doubt(self, key: bytes) -> None:
        """Have all answers for a key asked about before their next use."""
        for answer in _answers(self._fifo.table.get(key)):
            answer.doubt()

    def clear(self) -> None:
        """Let go of everything."""
        self._fifo.clear()


def _answers(entry: Entry | None) -> tuple[StoredAnswer, ...]:
    """Those of a key, the newest first."""
    return () if entry is None else entry.value


def _entry(key: bytes, answers: Sequence[StoredAnswer]) -> WeighedEntry:
    return WeighedEntry(
        key,
        tuple(answers),
        until=max(answer.useful_until for answer in answers),
        terms=_TERMS,
        weight=sum(answer.size for answer in answers),
    )

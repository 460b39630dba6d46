"""Where answers are kept: in memory, counted in bytes, the least recently used leaving first."""

from __future__ import annotations

from collections import OrderedDict

from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.pure.vary import Values, vary_values

LARGEST_SHARE = 1 / 8
VARIANTS = 16


class CacheStorage:
    """Answers by key, several for a key whose answers vary; never more than `size` bytes.

    - `size` covers key, headers, body and a fixed overhead for each entry (`StoredAnswer.size`).
    - An answer above `largest_share` of it is not kept, so that one cannot push out all others.
    - A key has at most `variants` answers, since clients choose the headers that answers vary by;
      the one stored longest ago goes first.

    Every operation takes constant time. Not locked: its owner serialises the calls.
    """

    __slots__ = ("_answers", "_order", "_variants", "bytes", "evicted", "largest", "size")

    def __init__(
        self, size: int, *, largest_share: float = LARGEST_SHARE, variants: int = VARIANTS
    ) -> None:
        self.size = size
        self.largest = int(size * largest_share)
        self.bytes = 0
        self.evicted = 0
        self._variants = variants
        self._answers: dict[bytes, list[StoredAnswer]] = {}  # the newest first
        # Not a plain dict: taking its oldest entry walks over all that were removed before it.
        self._order: OrderedDict[StoredAnswer, None] = OrderedDict()

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self._order)

    def find(self, key: bytes, asked: Asked, headers: Headers) -> StoredAnswer | None:
        """The newest answer that may be given to such a request, fresh or not."""
        for answer in self._answers.get(key, ()):
            if answer.matches(asked, headers):
                self._order.move_to_end(answer)
                return answer
        return None

    def variant(self, key: bytes, headers: Headers) -> Values:
        """What sets this request apart from others for the key, as far as answers have told."""
        answers = self._answers.get(key)
        return vary_values(answers[0].vary, headers) if answers and answers[0].vary else ()

    def put(self, answer: StoredAnswer) -> bool:
        """Keep it, in place of the one for the same requests; False if it is too large."""
        if answer.size > self.largest:
            return False
        answers = self._answers.get(answer.key, [])
        for other in answers:
            if other.vary == answer.vary and other.values == answer.values:
                self.remove(other)
                break
        if len(answers) >= self._variants:
            self.remove(answers[-1])
            self.evicted += 1
        while self.bytes + answer.size > self.size:
            self.remove(next(iter(self._order)))
            self.evicted += 1
        self._answers.setdefault(answer.key, []).insert(0, answer)
        self._order[answer] = None
        self.bytes += answer.size
        return True

    def remove(self, answer: StoredAnswer) -> bool:
        """Let go of this very answer; False if it had gone before."""
        if answer not in self._order:
            return False
        del self._order[answer]
        answers = self._answers[answer.key]
        answers.remove(answer)
        if not answers:
            del self._answers[answer.key]
        self.bytes -= answer.size
        return True

    def forget(self, key: bytes) -> int:
        """Let go of all answers for a key; how many there were."""
        answers = list(self._answers.get(key, ()))
        for answer in answers:
            self.remove(answer)
        return len(answers)

    def doubt(self, key: bytes) -> None:
        """Have all answers for a key asked about before their next use."""
        for answer in self._answers.get(key, ()):
            answer.doubt()

    def clear(self) -> None:
        """Let go of everything."""
        self._answers.clear()
        self._order.clear()
        self.bytes = 0

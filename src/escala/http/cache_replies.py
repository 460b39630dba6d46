"""What a cache's client gets: a stored answer with its age, a 304, a remark on what was done."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from escala.http.message import HttpRequest, Response
from escala.http.pure.admission import Terms
from escala.http.pure.asked import Asked
from escala.http.pure.reuse import Use
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.shared_answers import SharedAnswers
from escala.kernel.policy import Next
from escala.kernel.runtime import Runtime


class Visit(msgspec.Struct, frozen=True):
    """One request at the cache: what it asks, and how to ask the origin on its behalf.

    One in the `background` serves no client, so it is not counted.
    """

    request: HttpRequest
    asked: Asked
    key: bytes
    call: Next[object]
    runtime: Runtime
    background: bool = False


class Replies:
    """How the cache answers, and how often in which way.

    Each request that is not cancelled is counted once: `hits` were fresh, `stale` ones were not
    and were given all the same, `revalidated` ones were confirmed by the origin, `coalesced`
    ones shared another's load, `misses` went to the origin, `bypassed` ones were none of the
    cache's business. The same word stands in the request's note "cache", in the singular.
    """

    def __init__(
        self, shared: SharedAnswers, *, terms: Terms, max_body: int, wall: Callable[[], float]
    ) -> None:
        self.shared, self.terms, self.max_body, self.wall = shared, terms, max_body, wall
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(
            ("hit", "miss", "stale", "revalidated", "coalesced", "bypass"), 0
        )

    def note(self, request: HttpRequest, word: str, *, counted: bool = True) -> None:
        """Say in the request, and in the counts, what was done."""
        request.notes["cache"] = word
        if not counted:
            return
        with self._lock:
            self._counts[word] += 1

    def missed(self, visit: Visit) -> None:
        """The origin was asked, whatever came of it."""
        self.note(visit.request, "miss", counted=not visit.background)

    def given(self, visit: Visit, answer: StoredAnswer, how: Use) -> Response:
        """A stored answer that needed no one to be asked."""
        return self.stored(visit, answer, "hit" if how is Use.FRESH else "stale")

    def stored(self, visit: Visit, answer: StoredAnswer, word: str) -> Response:
        """A stored answer, or a 304 if the client has it already; HEAD gets no body."""
        self.note(visit.request, word, counted=not visit.background)
        age = max(0, int(visit.runtime.now() - answer.windows.born))
        line = (b"age", b"%d" % age)
        asked = visit.asked
        if asked.conditional and answer.known_by(asked, now=self.wall()):
            return Response(304, [*answer.headers_304, line])
        headers = [*answer.headers, line]
        if visit.request.method == "HEAD":
            return Response(answer.status, headers, length=len(answer.body))
        return Response(answer.status, headers, answer.body)

    def passed_on(self, visit: Visit, response: Response, answer: StoredAnswer | None) -> Response:
        """The origin's own answer, or a 304 if `answer`, made of it, is what the client has."""
        self.missed(visit)
        asked = visit.asked
        if answer is not None and asked.conditional and answer.known_by(asked, now=self.wall()):
            return Response(304, list(answer.headers_304))
        return response

    def rescue(self, visit: Visit) -> Response | None:
        """A stored answer in place of one that failed, if there is one that may be."""
        now, headers = visit.runtime.now(), visit.request.headers
        answer = self.shared.rescue(visit.key, visit.asked, headers, now=now)
        return None if answer is None else self.stored(visit, answer, "stale")

    def counts(self) -> dict[str, float]:
        """How often each happened."""
        with self._lock:
            counts = dict(self._counts)
        return {
            "hits": counts["hit"],
            "misses": counts["miss"],
            "stale": counts["stale"],
            "revalidated": counts["revalidated"],
            "coalesced": counts["coalesced"],
            "bypassed": counts["bypass"],
        }

"""One trip to the origin for the cache: ask, judge what comes back, keep it, tell who waits."""

from __future__ import annotations

from typing import cast

from escala.errors import EscalaError, RateLimited
from escala.http.cache_replies import Replies, Visit
from escala.http.message import Response
from escala.http.pure.admission import Admission, Arrival, admit
from escala.http.pure.asked import NOTHING_ASKED, Asked
from escala.http.pure.fields import Headers, field
from escala.http.pure.http_date import format_date
from escala.http.pure.reuse import FAILURES
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.pure.validators import confirms, question, refreshed
from escala.http.pure.vary import Values
from escala.http.recording import Recording
from escala.http.second_answers import AnswerLease, SecondAnswers
from escala.http.shared_answers import ALONE, CacheFlight, Outcome
from escala.http.stream import Stream
from escala.kernel.context import remaining

_NOT_MODIFIED = 304
_TOO_MANY = 429
_FIRST_SERVER_ERROR = 500


class CacheLoad:
    """The state of one trip. Whatever happens, its flight lands or is handed over, once.

    `stale` is the stored answer to verify, if there is one. Without a `flight` nobody waits for
    this load; `variant` is None when its answer says nothing about what others will get. With a
    `lease` what it brings is stored in the second level as well.
    """

    __slots__ = (
        "_admission",
        "_asked_at",
        "_flight",
        "_generation",
        "_headers",
        "_lease",
        "_outgrown",
        "_recorded",
        "_replies",
        "_second",
        "_shared",
        "_stale",
        "_variant",
        "_verifies",
        "_visit",
    )

    def __init__(
        self,
        replies: Replies,
        visit: Visit,
        *,
        stale: StoredAnswer | None,
        flight: CacheFlight | None,
        variant: Values | None,
        generation: int,
        second: SecondAnswers | None = None,
        lease: AnswerLease | None = None,
    ) -> None:
        self._second, self._lease = second, lease
        self._replies, self._shared, self._visit = replies, replies.shared, visit
        self._headers = visit.request.headers
        self._stale = stale
        self._flight, self._variant, self._generation = flight, variant, generation
        self._asked_at = 0.0
        self._outgrown = False
        self._verifies = False
        self._recorded: tuple[Response, Admission] | None = None

    async def run(self) -> Response:
        """Ask, and give the answer; a stored one if asking failed and that is allowed."""
        try:
            while True:
                response = await self._ask()
                if not isinstance(response, Response) or response.upgraded is not None:
                    self._land(ALONE)
                    return self._replies.passed_on(self._visit, cast("Response", response), None)
                if not self._verifies or response.status != _NOT_MODIFIED:
                    return await self._received(response)
                response.discard()
                if (confirmed := self._confirmed(response.headers)) is not None:
                    return confirmed
        except Exception as error:
            if not self._is_its_own(error):
                self._land(Outcome(error=error))
            failed = isinstance(error, (EscalaError, OSError))
            if failed and (rescue := self._replies.rescue(self._visit)) is not None:
                return rescue
            self._replies.missed(self._visit)
            raise
        finally:
            if self._recorded is None:
                self.give_up()

    async def _ask(self) -> object:
        request, stale, headers = self._visit.request, self._stale, self._headers
        self._verifies = False
        if stale is not None and stale.verifiable:
            self._verifies = True
            request.headers = question(headers, etag=stale.etag, last_modified=stale.last_modified)
        elif self._flight is not None:
            request.headers = question(headers)  # others need more than a 304
        self._asked_at = self._visit.runtime.now()
        try:
            return await self._visit.call()
        finally:
            request.headers = headers

    def _admit(self, status: int, headers: Headers, asked: Asked | None = None) -> Admission:
        visit = self._visit
        now = visit.runtime.now()
        arrival = Arrival(wall=self._replies.wall(), now=now, delay=now - self._asked_at)
        method = visit.request.method
        return admit(
            method,
            visit.asked if asked is None else asked,
            status,
            headers,
            arrival=arrival,
            terms=self._replies.terms,
        )

    def _private(self, status: int, headers: Headers) -> bool:
        """Whether no one could share such an answer, whatever they ask with."""
        return self._admit(status, headers, NOTHING_ASKED).refusal is not None

    def _confirmed(self, news: Headers) -> Response | None:
        """The stored answer is still right; None when the 304 speaks of another one."""
        stale = self._stale
        if stale is None or not confirms(stale.etag, field(news, b"etag")):
            if stale is not None:
                self._shared.remove(stale)
            self._stale = None
            return None
        if field(news, b"date") is None:
            news = [*news, (b"date", format_date(self._replies.wall()))]
        headers = refreshed(stale.headers, news)
        aged = [*headers, *(line for line in news if line[0] == b"age")]
        admission = self._admit(stale.status, aged)
        answer = self._stored(stale.status, headers, stale.body, admission)
        if admission.refusal is None:
            self._keep(answer)
        else:
            self._refuse(admission.refusal, private=self._private(stale.status, aged))
        return self._replies.stored(self._visit, answer, "revalidated")

    async def _received(self, response: Response) -> Response:
        visit = self._visit
        if response.status in FAILURES and (rescue := self._replies.rescue(visit)) is not None:
            response.discard()
            self._land_failure(response)
            return rescue
        if isinstance(response.body, Stream) and response.body.ended:
            # All of it is here already, or it broke off and this raises before anyone sees half.
            response.body = b"".join([chunk async for chunk in response.body])
        admission = self._admit(response.status, response.headers)
        large = self._too_large(response)
        why = admission.refusal or large
        if why is not None:
            if response.status >= _FIRST_SERVER_ERROR or response.status == _TOO_MANY:
                self._land_failure(response)
            else:
                private = large is not None or self._private(response.status, response.headers)
                self._refuse(why, private=private)
            return self._replies.passed_on(visit, response, None)
        if isinstance(response.body, bytes):
            body = response.body
            answer = self._stored(response.status, response.headers, body, admission)
            self._keep(answer)
            return self._replies.passed_on(visit, response, answer)
        self._recorded = response, admission
        response.body = Recording(response.body, self)
        return self._replies.passed_on(visit, response, None)

    def _stored(
        self, status: int, headers: Headers, body: bytes, admission: Admission
    ) -> StoredAnswer:
        visit = self._visit
        return StoredAnswer(
            visit.key,
            status,
            headers,
            body,
            asked_with=self._headers,
            admission=admission,
            known_at=self._asked_at,
        )

    def _too_large(self, response: Response) -> str | None:
        limit, body = self._replies.max_body, response.body
        size = len(body) if isinstance(body, bytes) else response.length
        if size is None or size <= limit:
            return None
        return f"the body is larger than {limit} bytes"

    # How it ends: once, with one of these

    def _keep(self, answer: StoredAnswer) -> None:
        flight, self._flight = self._flight, None
        runtime = self._visit.runtime
        self._shared.keep(
            answer,
            generation=self._generation,
            flight=flight,
            variant=self._variant,
            now=runtime.now(),
        )
        lease, self._lease = self._lease, None
        if lease is not None and self._second is not None:
            self._second.keep(lease, answer, self._headers, runtime)

    def _refuse(self, why: str, *, private: bool) -> None:
        flight, self._flight = self._flight, None
        self._visit.request.notes["cache_refused"] = why
        self._shared.refuse(
            self._visit.key,
            replaces=self._stale,
            flight=flight,
            variant=self._variant,
            now=self._visit.runtime.now(),
        )
        lease, self._lease = self._lease, None
        if lease is not None and self._second is not None:
            end = self._second.refuse if private else self._second.release
            end(lease, self._visit.runtime)

    def _land(self, outcome: Outcome) -> None:
        flight, self._flight = self._flight, None
        self._shared.land(flight, outcome)
        self._release()

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None and self._second is not None:
            self._second.release(lease, self._visit.runtime)

    def _land_failure(self, response: Response) -> None:
        retry_after = field(response.headers, b"retry-after")
        self._land(Outcome(failed=response.status, retry_after=retry_after))

    def give_up(self) -> None:
        """It will have no result: someone else may try. No harm if it has ended otherwise."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._shared.hand_over(flight)
        self._release()

    def _is_its_own(self, error: Exception) -> bool:
        """Whether only this caller failed: its own limit or deadline is not the others'."""
        return isinstance(error, RateLimited) or remaining(self._visit.runtime.now()) <= 0

    # Keeper of a recorded body

    def reserve(self, held: int, more: int) -> bool:
        """Say whether `more` bytes may be held, beside the `held` ones."""
        self._outgrown = held + more > self._replies.max_body
        return not self._outgrown and self._shared.reserve(more)

    def release(self, size: int) -> None:
        """The copy is stored or thrown away."""
        self._shared.release(size)

    def complete(self, body: bytes) -> None:
        """The body has arrived as a whole: keep it, unless it is not what was announced."""
        if self._recorded is None:
            return
        response, admission = self._recorded
        if response.length is not None and response.length != len(body):
            self.broken()
        else:
            self._keep(self._stored(response.status, response.headers, body, admission))

    def outgrown(self) -> None:
        """It is not kept after all, so no one should wait for it."""
        if self._outgrown:
            why = f"the body is larger than {self._replies.max_body} bytes"
            self._refuse(why, private=True)
        else:
            self._land(ALONE)  # too many bodies are under way at the moment

    def broken(self) -> None:
        """It broke off, or its reader went away: someone else may try."""
        self.give_up()

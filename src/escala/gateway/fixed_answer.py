"""Give a fixed answer when the service has none: the fallback of a route."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec
from msgspec import Meta

from escala.http.message import SAFE, HttpRequest, Response, http_date
from escala.http.pure.forwarding import HOP_BY_HOP
from escala.kernel.config import options
from escala.kernel.context import current
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.resilience.breaker_verdict import Judge
from escala.resilience.fallback import Fallback
from escala.resilience.spelling import spelled

T = TypeVar("T")

_USUAL = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
_NONE: Mapping[str, str] = MappingProxyType({})
_ERRORS = 400
_OURS = HOP_BY_HOP | {b"date"}

_Field = Annotated[
    str,
    Meta(
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$(?!\n)",
        extra={"expected": "the name of a header field"},
    ),
]
_Value = Annotated[
    str,
    Meta(
        pattern=r"^[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?$(?!\n)",
        extra={"expected": "the value of a header field, in one line"},
    ),
]


class FixedAnswer(Policy):
    """Give a fixed answer in place of none: an empty list, a page that says sorry.

    The form that `Fallback` has in `stack.yaml`, where a route's service gives no answer when a
    policy inside refuses (`Rejected`), no target is well or reachable, time is up, or the answer
    is a 5xx (501 and 505 aside).

    - `body`: the text.
    - `status`: that of the answer. One below 400 is given to requests that only read (GET, HEAD,
      OPTIONS, TRACE): to any other it would say that what was asked for has been done.
    - `headers`: by default it is plain text that no one may store.

    It stands inside the rate limit, or who is over the limit gets it as well, and outside all
    that may fail. `FellBack` events tell of each, and `snapshot` how many were `answered`.

    >>> from escala.kernel.context import serving
    >>> sorry = FixedAnswer("[]", headers={"content-type": "application/json"})
    >>> @sorry
    ... def recommend() -> Response:
    ...     raise ConnectionError
    >>> with serving(HttpRequest("GET", b"/", [])):
    ...     recommend().body
    b'[]'
    """

    kind: ClassVar[str] = "fallback"
    shorthand: ClassVar[str | None] = "body"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What is answered."""

        body: str
        """The text."""
        status: Annotated[int, Meta(ge=200, le=599)] = 200
        """The status; one below 400 is given to requests that only read."""
        headers: dict[_Field, _Value] = {}
        """Header fields, beside or instead of a Content-Type of plain text and no-store."""

        def __post_init__(self) -> None:
            for name in self.headers:
                if name.lower().encode() in _OURS:
                    raise ValueError(
                        f"headers: expected none that the gateway writes, found {name}"
                    )

        def __hash__(self) -> int:
            return hash((self.status, tuple(sorted(self.headers.items())), self.body))

    def __init__(
        self,
        body: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] = _NONE,
        judge: Judge | None = None,
        name: str = "fallback",
    ) -> None:
        given = {
            "body": body,
            "status": status,
            "headers": headers,
        }
        self.options = options(self.Options, given, where="FixedAnswer")
        self.name, self._given = name, judge
        fields = _USUAL | {name.lower(): value for name, value in self.options.headers.items()}
        self._headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        self._body = self.options.body.encode()
        self._fallback = Fallback(function=self._instead, judge=judge, name=name)
        self._answered = 0

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; answers are judged as the scope says."""
        return cls(
            options.body,
            status=options.status,
            headers=options.headers,
            judge=scope.judge,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name, judge=self._given)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call, and answer in its place if it gives no answer."""
        request = current.get()
        reads = isinstance(request, HttpRequest) and request.method in SAFE
        if not reads and self.options.status < _ERRORS:
            return await call()
        return await self._fallback.around(call, runtime)

    def snapshot(self) -> dict[str, float]:
        """For metrics: how many requests were `answered` so."""
        return {"answered": float(self._answered)}

    def _instead(self, failure: Any) -> Response:  # noqa: ANN401  an error, or an answer
        self._answered += 1
        cause = type(failure).__name__
        if isinstance(failure, Response):
            cause = str(failure.status)
            failure.discard()
        request = current.get()
        if request is not None:
            request.notes["fallback"] = cause
        return Response(self.options.status, [*self._headers, (b"date", http_date())], self._body)

"""How an attempt that failed looks to the policies around it: an error that they all know.

Retry, breakers and the others take `Unavailable` for a failure by chance. So that is what each
failed attempt is on its way through them, whatever the client library calls it; who called the
client gets the client's own answer or error.
"""

from __future__ import annotations

from typing import Any

from escala.errors import Unavailable

_KNOWN = (ConnectionError, TimeoutError, Unavailable)
_MOST_KINDS = 256
_kinds: dict[type[Exception], type[Exception]] = {}


class FailedAnswer(Unavailable):
    """The service answered, and the answer says that it failed (such as a 503).

    `response` is that answer and `retry_after` the seconds to stay away that it asks for.
    """

    def __init__(self, response: Any, status: object, retry_after: float | None = None) -> None:  # noqa: ANN401  any client's
        self.response, self.status, self.retry_after = response, status, retry_after
        super().__init__(f"the service answered {status}")

    def __str__(self) -> str:
        return str(self.args[0])


class FailedAttempt(Unavailable):
    """There was no answer. Each is also of the client's own type, so `on=` may name that.

    `original` is the client's error itself.
    """

    original: Exception
    retry_after: float | None = None


def failed(error: Exception, retry_after: float | None = None) -> Exception:
    """The error as policies see it; itself if they know its kind."""
    if isinstance(error, _KNOWN) and retry_after is None:
        return error
    kind = type(error)
    both = _kinds.get(kind)
    if both is None:
        if len(_kinds) >= _MOST_KINDS:  # a client that makes up classes as it goes
            _kinds.clear()
        both = _kinds[kind] = type(kind.__name__, (FailedAttempt, kind), {})
    # Made without the client's `__init__`, whose arguments are its own affair.
    seen: Any = both.__new__(both, *error.args)
    seen.__dict__.update(error.__dict__)
    seen.original, seen.retry_after = error, retry_after
    made: Exception = seen
    return made


def as_it_was(seen: FailedAttempt) -> Exception:
    """The client's own error, with what policies have noted on it (how often they tried)."""
    error = seen.original
    known = getattr(error, "__notes__", ())
    for note in getattr(seen, "__notes__", ()):
        if note not in known:
            error.add_note(note)
    return error

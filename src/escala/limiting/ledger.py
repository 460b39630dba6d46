"""Where a limiter's counts are kept: in this process, or in a store that many processes share."""

from __future__ import annotations

from typing import Protocol

from escala.errors import ConfigError
from escala.kernel.registry import load
from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.stores.store_scheme import store_scheme

LEDGERS = "escala.ledgers"


class Ledger(Protocol):
    """Counts for the keys of one `Plan`. One object serves threads and tasks, by `runtime`.

    An entry point in the group `escala.ledgers` names the class for a URL scheme; it is made
    as `Class(url, plan)`, which does no I/O. The limiter has checked the cost (1 to `plan.most`)
    and the key, which is text of less than a hundred characters.

    Every method raises `StoreUnavailable` when the store does not answer or answers with an
    error, and `WouldBlock` when a sync caller would have to wait inside a running event loop.
    Time is the store's own where it has a clock; every duration in a `Decision` is relative.
    """

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Check all limits, then charge all of them or none.

        With `wait` above zero a place up to so many seconds ahead may be taken instead: the
        tokens are charged at once, so that later callers come after it, and the float says how
        many seconds the caller sleeps before it goes on (0.0: at once). A refusal sleeps 0.0.
        """
        ...

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now; charges nothing."""
        ...

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used."""
        ...

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give back tokens that were granted and not used, or a place that was given up.

        Never beyond what the key would have had without them. May be called while the caller is
        being cancelled, so it should be one step.
        """
        ...

    def close(self) -> None:
        """Let go of connections; may be called twice."""
        ...


def open_ledger(url: str, plan: Plan) -> Ledger:
    """The ledger for a store's URL, such as "redis://localhost"; no I/O yet.

    Raises `ConfigError` when no installed package keeps limits behind such a URL.
    """
    try:
        kind = load(LEDGERS, store_scheme(url))
    except ConfigError as error:
        raise ConfigError(*(f"{plan.name}: store: {each}" for each in error.problems)) from error
    ledger: Ledger = kind(url, plan)
    return ledger

"""The counts of a limiter with a store: the ledger behind the URL, and what its parameters ask."""

from __future__ import annotations

from typing import Literal

from escala.errors import ConfigError
from escala.limiting.away_ledger import AwayLedger
from escala.limiting.lease_ledger import LeaseLedger
from escala.limiting.ledger import Ledger, open_ledger
from escala.limiting.plan import Plan
from escala.stores.url_parameters import taken_out, whole

_OURS = ("nodes", "lease")
_MOST = 1_000_000


def open_shared(
    url: str, plan: Plan, *, away: Literal["local", "open", "closed"], max_keys: int
) -> AwayLedger:
    """Open the store's ledger; no I/O yet.

    The URL may say `nodes=4`, the number of processes that a limit is divided by while the store
    is away (by default that of the gateway's workers, else 1), and `lease=20`, for hot keys: see
    `LeaseLedger`. Raises `ConfigError`.
    """
    try:
        rest, found = taken_out(url, _OURS)
        said = {name: whole(name, text, 1, _MOST) for name, text in found.items()}
    except ConfigError as error:
        raise ConfigError(f"{plan.name}: store: {error}") from error
    ledger: Ledger = open_ledger(rest, plan)
    if "lease" in said:
        ledger = LeaseLedger(ledger, plan, lease=said["lease"], max_keys=max_keys)
    return AwayLedger(ledger, plan, away=away, max_keys=max_keys, nodes=said.get("nodes"))

"""The counts of a limiter with a store: the ledger behind the URL, and what its parameters ask."""

from __future__ import annotations

from typing import Literal

from escala.errors import ConfigError
from escala.kernel.wrong_value import sentence, shown
from escala.limiting.away_ledger import AwayLedger
from escala.limiting.lease_ledger import LeaseLedger
from escala.limiting.ledger import Ledger, open_ledger
from escala.limiting.plan import Plan
from escala.stores.url_parameters import taken_out

_MOST = 1_000_000


def open_shared(
    url: str, plan: Plan, *, away: Literal["local", "open", "closed"], max_keys: int
) -> AwayLedger:
    """Open the store's ledger; no I/O yet.

    The URL may say `nodes=4`, the number of processes that a limit is divided by while the store
    is away (by default that of the gateway's workers, else 1), and `lease=20`, for hot keys: see
    `LeaseLedger`. Raises `ConfigError`.
    """
    rest, found = taken_out(url, ("nodes", "lease"))
    nodes, lease = _whole(found, "nodes", plan), _whole(found, "lease", plan)
    ledger: Ledger = open_ledger(rest, plan)
    if lease is not None:
        ledger = LeaseLedger(ledger, plan, lease=lease, max_keys=max_keys)
    return AwayLedger(ledger, plan, away=away, max_keys=max_keys, nodes=nodes)


def _whole(found: dict[str, str], name: str, plan: Plan) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST:
        expected = f"a whole number from 1 to {_MOST}"
        raise ConfigError(f"{plan.name}: store: {name}: {sentence(expected, shown(text))}")
    return int(text)

"""How far a pair of shards is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from escala.databases.pure.reshard_steps import State
from escala.databases.pure.slot_runs import members

if TYPE_CHECKING:
    from escala.databases.resharding.mover import Mover


class PairStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of shards; `rows` were compared, `lag` is in bytes, `pauses` in milliseconds."""

    source: str
    target: str
    slots: int
    keys: int
    state: str
    rows: int
    lag: int
    failures: int
    pauses: list[float]


def status_of(mover: Mover) -> PairStatus:
    """What is written down, and what the servers say of the stream."""
    pair = mover.pair
    back = pair.state in (State.CUT, State.MOVED, State.CUT_BACK)
    stream = mover.back() if back else mover.there()
    return PairStatus(
        source=pair.source,
        target=pair.target,
        slots=len(members(pair.slots)),
        keys=len(pair.keys),
        state=pair.state,
        rows=pair.compared,
        lag=stream.lag_bytes(),
        failures=stream.failures(),
        pauses=[round(each * 1000, 1) for each in pair.pauses],
    )

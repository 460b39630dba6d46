"""Brings commits over several shards to their end when whoever began them is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import msgspec

from escala.databases.pure.two_phase_steps import PREFIX, parsed
from escala.databases.sharding import decisions, prepared
from escala.databases.sharding.decisions import Decision
from escala.databases.sharding.two_phase_events import DoubtSettled, SweepFailed
from escala.kernel.config import options
from escala.kernel.events import publish
from escala.kernel.runtime import colours
from escala.kernel.units import PositiveDuration

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")

_PREPARED = (
    "SELECT gid, EXTRACT(EPOCH FROM clock_timestamp() - prepared) FROM pg_prepared_xacts "  # noqa: S608
    f"WHERE database = current_database() AND left(gid, {len(PREFIX)}) = '{PREFIX}'"
)


class _Options(msgspec.Struct, frozen=True):
    grace: PositiveDuration
    every: PositiveDuration


class Swept(NamedTuple):
    """What a sweep did: what it settled and how, and what is left for the next one."""

    settled: dict[tuple[str, str], str]  # (shard, gid): "commit" or "abort"
    left: set[tuple[str, str]]
    unreachable: set[str]


class InDoubtSweeper:
    """Reach for it beside every `TwoPhase`: it ends what a killed process has left prepared.

    A prepared transaction holds its locks until someone ends it. When one is older than `grace`
    (seconds by its server's own clock, 10 by default) its decision shard is asked: what was
    decided there happens, and if nothing was, then that it is aborted is decided by asking. A
    coordinator that is only slow then finds the abort, and rolls back everything.

    `engines` are sync engines by the names of their shards: all of them, since a decision is
    forgotten only when every shard that took part has been told; with a `connect_timeout`, since
    they are asked in turn; and by the role that writes, since no other may end what it prepared but
    a superuser. `start` has a thread do it every
    `every` seconds; `sweep` does it once. Any number of processes may sweep at once.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        *,
        grace: float | str = 10.0,
        every: float | str = 5.0,
        name: str = "in_doubt",
    ) -> None:
        self._engines, self._name = engines, name
        given = {"grace": grace, "every": every}
        chosen = options(_Options, given, where="InDoubtSweeper")
        self._grace, self._every = chosen.grace, chosen.every
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Sweep every so often, in a daemon thread, until `close`."""
        if self._thread is None:
            self._quit.clear()
            self._thread = threading.Thread(
                target=self._serve, name=f"escala-{self._name}", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the thread, after the sweep that it is at."""
        self._quit.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sweep(self) -> Swept:
        """Settle what can be settled now."""
        swept = Swept({}, set(), set())
        # In this order: whatever was prepared for a decision that is read first is read after it.
        written = self._from_each(swept, self._written)
        open_ = self._from_each(swept, self._open)
        for shard, gids in open_.items():
            for gid, age in gids:
                swept.left.add((shard, gid))
                if age >= self._grace:
                    with self._noting(shard, swept):
                        self._settle(shard, gid, swept)
        for shard, rows in written.items():
            with self._noting(shard, swept):
                self._forget(shard, [row.gid for row in rows if _told(row, open_)])
        return swept

    def _from_each(self, swept: Swept, ask: Callable[[str], T]) -> dict[str, T]:
        found = {}
        for shard in sorted({*self._engines} - swept.unreachable):
            with self._noting(shard, swept):
                found[shard] = ask(shard)
        return found

    def _settle(self, shard: str, gid: str, swept: Swept) -> None:
        part = parsed(gid)
        decider = self._engines.get(part.decision) if part else None
        if part is None or decider is None:
            return
        outcome: Any = decisions.settled(decider, part.gid)
        if outcome is None:
            return
        with self._engines[shard].connect() as connection:
            prepared.finish(connection, gid, outcome)
        swept.left.discard((shard, gid))
        swept.settled[shard, gid] = outcome
        at = colours.thread.now()
        publish(DoubtSettled(name=self._name, at=at, shard=shard, gid=gid, outcome=outcome))

    def _written(self, shard: str) -> list[Decision]:
        with self._engines[shard].connect() as connection:
            return decisions.committed(connection)

    def _open(self, shard: str) -> list[tuple[str, float]]:
        with self._engines[shard].connect() as connection:
            rows = connection.exec_driver_sql(_PREPARED).all()
        return [(gid, float(age)) for gid, age in rows]

    def _forget(self, shard: str, gids: list[str]) -> None:
        with self._engines[shard].begin() as connection:
            decisions.forget(connection, gids)

    @contextmanager
    def _noting(self, shard: str, swept: Swept) -> Iterator[None]:
        """Go on with the others when a shard is down, and say so."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, the others are not to wait for it
            swept.unreachable.add(shard)
            at = colours.thread.now()
            publish(SweepFailed(name=self._name, at=at, shard=shard, cause=str(error)))

    def _serve(self) -> None:
        while not self._quit.wait(self._every):
            self.sweep()


def _told(row: Decision, open_: Mapping[str, list[tuple[str, float]]]) -> bool:
    """Whether every shard that took part was seen, and has nothing prepared for it any more."""
    return all(
        shard in open_ and not any(gid.startswith(f"{row.gid}:") for gid, _ in open_[shard])
        for shard in row.participants
    )

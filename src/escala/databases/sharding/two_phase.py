"""One commit over several shards: all of them have it, or none does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from escala.databases.pure.two_phase_steps import LONGEST, Do, Step, TwoPhaseSteps, gid, part
from escala.databases.sharding import decisions, prepared
from escala.databases.sharding.two_phase_events import LeftInDoubt
from escala.errors import CommitUnknown, ConfigError
from escala.kernel.events import publish
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from sqlalchemy import Connection


class TwoPhase:
    """Reach for it when one change has to be on several shards at once, or on none.

    `commit` is given connections of SQLAlchemy with their transactions open, by the names of
    their shards. The first by name is the decision shard: the row in its `escala.decisions`, which
    commits together with its own part, is what makes it happen. Whoever is killed at any moment,
    an `InDoubtSweeper` brings all shards to the same end.

    It costs a `PREPARE TRANSACTION` and a `COMMIT PREPARED` for each further shard. Between the
    decision and those another transaction may see the one shard changed and the other not yet: it
    is all or nothing, and not a snapshot over shards.

    Needs PostgreSQL with `max_prepared_transactions` above 0, by psycopg or asyncpg; `check` says
    what is missing. Connections of an `AsyncEngine` are given as they are inside of `run_sync`.
    """

    def __init__(self, name: str = "two_phase") -> None:
        self._name = name

    def check(self, connections: Mapping[str, Connection]) -> None:
        """See that these shards can do it. Raises `ConfigError` that says what they lack."""
        for shard, connection in connections.items():
            if len(part(gid(shard, str(uuid4())), 9999).encode()) > LONGEST:
                raise ConfigError(f"TwoPhase: the name {shard!r} is too long for a decision shard")
            prepared.check(connection, shard)

    def commit(self, connections: Mapping[str, Connection]) -> None:
        """Commit on all of these shards, or on none. Of one alone nothing is done.

        Afterwards the servers are done, and SQLAlchemy does not know: end its transactions, by
        `commit()` on each connection, or `rollback()` when this raised. Raises what made it
        impossible, after which nothing has happened on any shard, or `CommitUnknown` when the
        decision shard was lost at the decision and does not answer. A shard that is lost after
        the decision is no error (`LeftInDoubt` is published): the sweeper tells it when it is
        back.
        """
        if len(connections) <= 1:
            return  # its own commit is all that it takes
        steps = TwoPhaseSteps(connections)
        name, first = gid(steps.decision, str(uuid4())), None
        try:
            while (step := steps.step) is not None:
                try:
                    steps.done(self._do(step, connections[step.shard], name, steps.others))
                except Exception as error:  # noqa: BLE001  raised at the end, if it is not mended
                    first = first or error
                    steps.failed(broke=prepared.unsure(connections[step.shard], error))
        except BaseException:  # cancelled in the middle: what comes of it the sweeper finds out
            for connection in connections.values():
                prepared.drop(connection)
            raise
        self._tell(steps, name)
        for connection in connections.values():
            prepared.let_end(connection, committed=steps.outcome == "commit")
        if steps.outcome == "unknown":
            raise CommitUnknown(
                f"{self._name}: the shard {steps.decision!r} was lost while it committed, and does "
                f"not answer; what became of {name!r} is found out when it is back"
            ) from first
        if first is not None and (steps.outcome == "abort" or isinstance(first, CommitUnknown)):
            raise first

    def _do(self, step: Step, connection: Connection, name: str, others: list[str]) -> str:
        mine = part(name, others.index(step.shard)) if step.shard in others else name
        match step.do:
            case Do.BEGIN:
                decisions.begin(connection)
            case Do.PREPARE:
                prepared.prepare(connection, mine)
            case Do.DECIDE:
                decisions.write(connection, name, others)
                prepared.commit(connection)
            case Do.COMMIT:
                prepared.finish(connection, mine, "commit")
            case Do.ROLL_BACK:
                prepared.finish(connection, mine, "abort")
            case Do.ASK:
                return self._ask(connection, name)
        return ""

    def _ask(self, connection: Connection, name: str) -> str:
        from sqlalchemy.exc import DBAPIError

        if prepared.broken(connection):
            prepared.stand_in(connection)  # and so leave its place in the pool to another
        try:
            outcome = decisions.settled(connection.engine, name)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            outcome = decisions.settled(connection.engine, name)  # the pool's others were lost too
        if outcome is None:
            raise CommitUnknown(f"{self._name}: {name!r} is still being decided")
        return outcome

    def _tell(self, steps: TwoPhaseSteps, name: str) -> None:
        outcome = cast("Any", steps.outcome)
        for shard in sorted(steps.in_doubt):
            at = colours.thread.now()
            publish(LeftInDoubt(name=self._name, at=at, shard=shard, gid=name, outcome=outcome))

"""Slots move to other shards while everything goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from escala.databases.pure.reshard_steps import Command, State, found, refusal, step
from escala.databases.resharding import maps
from escala.databases.resharding.barrier import drop_barriers
from escala.databases.resharding.identity import restore
from escala.databases.resharding.job import Job, job_on
from escala.databases.resharding.mover import Mover
from escala.databases.resharding.node import Node
from escala.databases.resharding.plan import Plan, planned
from escala.databases.resharding.progress import Progress
from escala.databases.resharding.status import PairStatus, status_of
from escala.databases.resharding.waiting import TooLate, now, wait_until
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_server import FENCE_LOCK, NOT_INSTALLED
from escala.errors import CannotReshard, ConfigError
from escala.kernel.units import seconds
from escala.kernel.wrong_value import WrongValue, without_password

_JOB_LOCK = FENCE_LOCK + 2
_PREDECESSOR = 15.0  # seconds until the statements of one that was killed have ended
_SHORTEST = 0.01


class Reshard:
    """Reach for it when shards have to grow or shrink and no one may notice.

    - `urls` are the shards by name, each a "postgresql://" URL of a superuser; the servers
      connect to each other with the same ones.
    - `tables` are the sharded tables with the column of the shard key; `reference` those that
      every shard has.
    - `to` is the map to come, made from the present one (`with_shards`, `pin`). Only `plan` and
      the first `run` need it.
    - `max_pause` is how long writers may wait when slots change hands.
    - `tell` hears what is being done.

    Rows are copied and changes followed by PostgreSQL's logical replication; writers are kept
    out by the shards' own servers for the moment in which slots change hands. Each method may be
    called again after it failed or its process was killed: what was done is written down on the
    shards, and is gone on with. Sync only: from a coroutine call it in a thread.

    Raises `ConfigError` for wrong arguments, and `CannotReshard` when a step is refused.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        tables: Mapping[str, str],
        reference: Sequence[str] = (),
        to: ShardMap | None = None,
        max_pause: float | str = "250ms",
        tell: Callable[[Progress], None] | None = None,
    ) -> None:
        for name, url in urls.items():
            if url.partition("://")[0].partition("+")[0] not in ("postgresql", "postgres"):
                raise ConfigError(f"Reshard: {name}: expected a 'postgresql://' URL")
        if not tables:
            raise ConfigError("Reshard: tables: expected the sharded tables, found none")
        try:
            self._max_pause = seconds(max_pause)
        except WrongValue as error:
            raise ConfigError(f"Reshard: max_pause: {error}") from error
        if self._max_pause < _SHORTEST:
            raise ConfigError(f"Reshard: max_pause: expected 10 ms or more, found {max_pause!r}")
        self._urls, self._tables, self._reference = dict(urls), dict(tables), tuple(reference)
        self._to, self._hear = to, tell

    def plan(self) -> Plan:
        """What would move, and everything that stands in the way; touches nothing."""
        with self._nodes() as nodes:
            return self._plan(nodes)

    def run(self) -> list[PairStatus]:
        """Copy, catch up and compare, until all is ready to be cut over."""
        return self._do(Command.RUN)

    def cutover(self) -> list[PairStatus]:
        """Hand the slots to their new shards; changes flow back to the old ones from then on."""
        return self._do(Command.CUTOVER)

    def reverse(self) -> list[PairStatus]:
        """Hand the slots back, with everything that was written since."""
        return self._do(Command.REVERSE)

    def complete(self) -> list[PairStatus]:
        """End it: no way back, and the rows that are left over at the old shards are deleted."""
        return self._do(Command.COMPLETE)

    def abort(self) -> list[PairStatus]:
        """Undo what is not cut over: nothing stays behind."""
        return self._do(Command.ABORT)

    def status(self) -> list[PairStatus]:
        """How far each pair of shards is; an empty list when nothing is under way."""
        with self._nodes() as nodes:
            job = job_on(nodes.values())
            return [] if job is None else [status_of(each) for each in self._movers(job, nodes)]

    def current_map(self) -> ShardMap:
        """The newest map that any of the shards has."""
        with self._nodes() as nodes:
            return maps.newest(nodes.values())

    def _do(self, command: Command) -> list[PairStatus]:
        with self._nodes() as nodes, self._alone(nodes):
            job = job_on(nodes.values())
            if job is None:
                if command in (Command.COMPLETE, Command.ABORT):
                    return []  # it is done
                if command is not Command.RUN:
                    raise CannotReshard(f"{command}: no move is under way")
                job = self._plan(nodes).job()
                job.save(nodes)
            else:
                self._check_goal(job)
            movers = self._movers(job, nodes)
            for mover in movers:
                mover.pair.state = found(mover.pair.state, moved=mover.moved)
            refused = [
                f"{mover.pair.label} {why}"
                for mover in movers
                if (why := refusal(mover.pair.state, command))
            ]
            if refused:
                raise CannotReshard(f"{command}: {'; '.join(refused)}")
            for mover in movers:
                self._advance(job, mover, command, nodes)
            told = [status_of(mover) for mover in movers]
            if all(mover.pair.state in (State.DONE, State.UNDONE) for mover in movers):
                restore(job, nodes)
                for node in nodes.values():
                    drop_barriers(node)
                job.forget(nodes)
            return told

    def _advance(self, job: Job, mover: Mover, command: Command, nodes: Mapping[str, Node]) -> None:
        while (due := step(mover.pair.state, command)) is not None:
            try:
                mover.do(due.action)
            except CannotReshard:
                if not any(node.connection.broken for node in nodes.values()):
                    job.save(nodes)  # what was found out on the way
                raise
            mover.pair.state = due.after
            job.save(nodes)
            mover.tell("")

    def _plan(self, nodes: Mapping[str, Node]) -> Plan:
        if self._to is None:
            raise ConfigError("Reshard: to: expected the map to come, found nothing")
        return planned(nodes, self._tables, self._reference, self._to)

    def _check_goal(self, job: Job) -> None:
        if self._to is None:
            return
        goal = ShardMap.from_json(job.goal)
        if (goal.owners, goal.pins) != (self._to.owners, self._to.pins):
            raise CannotReshard(
                "another move is under way, to another map: complete or abort that one first"
            )

    def _movers(self, job: Job, nodes: Mapping[str, Node]) -> list[Mover]:
        known = {shard for pair in job.pairs for shard in (pair.source, pair.target)}
        if missing := sorted(known - nodes.keys()):
            raise ConfigError(f"Reshard: urls: expected {', '.join(missing)} too")
        return [
            Mover(job, pair, nodes, max_pause=self._max_pause, hear=self._hear)
            for pair in job.pairs
        ]

    @contextmanager
    def _nodes(self) -> Iterator[dict[str, Node]]:
        nodes = {name: Node(name, url) for name, url in sorted(self._urls.items())}
        import psycopg

        try:
            yield nodes
        except psycopg.Error as error:
            where = " ".join(getattr(error, "__notes__", ()))
            why = "no map of shards is installed" if error.sqlstate in NOT_INSTALLED else str(error)
            raise CannotReshard(f"{where}: {without_password(why)}".strip()) from error
        finally:
            for node in nodes.values():
                node.close()

    @contextmanager
    def _alone(self, nodes: Mapping[str, Node]) -> Iterator[None]:
        """See that no other coordinator is at work, nor a statement of one that was killed."""
        for node in nodes.values():
            try:
                wait_until(partial(node.hold, _JOB_LOCK), now() + _PREDECESSOR, "it")
            except TooLate:
                raise CannotReshard(f"another coordinator is at work on {node.name}") from None
            node.rows("UPDATE escala.shard SET throttle = 0 WHERE throttle <> 0")
        yield  # the locks end with the connections

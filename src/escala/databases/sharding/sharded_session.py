"""A session over shards: each statement goes where its key is, or says that it goes everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction

from escala.databases.sharding.reference_rows import copy_references
from escala.databases.sharding.shard_routes import route
from escala.databases.sharding.shard_transaction import ShardTransaction
from escala.errors import ConfigError, MapOutdated, NoShardKey

if TYPE_CHECKING:
    from sqlalchemy.engine import Result
    from sqlalchemy.orm import InstanceState

    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.sharded_database import ShardedDatabase

Place = Callable[["ShardMap"], Mapping[str, Any]]


class ShardedSession(Session):
    """What `ShardedDatabase.session()` gives, and what works under its `asession()`.

    The shard of a statement is that of, in this order: the object that it loads for, the key in
    its WHERE clause or in its rows, `execution_options(shard_key=…)`, the `shard_key` of the
    session. Objects remember the shard that they came from; what is loaded for them, lazily or
    not, comes from there.
    """

    def __init__(
        self,
        shards: ShardedDatabase,
        *,
        shard_key: Any = None,  # noqa: ANN401  whatever is a key of the map
        asynchronous: bool = False,
        **options: Any,  # noqa: ANN401  of `Session`
    ) -> None:
        for name in ("bind", "binds"):
            if options.get(name) is not None:
                raise ConfigError(f"ShardedSession: {name}: a shard's engine is chosen by its key")
        if options.get("twophase"):
            raise ConfigError("ShardedSession: twophase: say two_phase to the ShardedDatabase")
        super().__init__(**options)
        self.shards, self.shard_key = shards, shard_key
        self._asynchronous = asynchronous
        self._on_shards: ShardTransaction | None = None
        self._only: str | None = None
        self._epoch: int | None = None  # of the objects; None: of the present transaction
        self._options: Any = None

    # What SQLAlchemy asks.

    def get_bind(
        self,
        mapper: Any = None,  # noqa: ANN401  as in `Session`
        *,
        shard: str | None = None,
        bind: Engine | Connection | None = None,
        **_: Any,  # noqa: ANN401
    ) -> Engine | Connection:
        """Find the engine of a shard. Raises `NoShardKey` when nothing says which."""
        if bind is not None:
            return bind
        shard = shard or self._only
        if shard is None and self.shard_key is not None:
            shard = self.enter(self._placed(None), writes=True)
        if shard is None:
            what = "this" if mapper is None else f"what is done for {mapper}"
            raise NoShardKey(
                f"ShardedSession: {what} does not say which shard it is for: session(key=…), or "
                "bind_arguments={'shard': …}; a many-to-many table has to be a class of its own"
            )
        return self.shards.engine(shard, asynchronous=self._asynchronous)

    def connection(self, bind_arguments: Any = None, execution_options: Any = None) -> Connection:  # noqa: ANN401  as in `Session`
        """Give the connection to one shard, by the key of the session or a `shard` argument."""
        arguments = dict(bind_arguments or {})
        if arguments.get("bind") is not None:
            return super().connection(arguments, execution_options)
        self._options = execution_options
        try:
            arguments["shard"] = self.enter(self._placed(arguments.get("shard")), writes=True)
        finally:
            self._options = None
        return super().connection(bind_arguments=arguments)

    def connection_callable(
        self,
        mapper: Mapper[Any] | None = None,  # noqa: ARG002  the object knows it
        instance: Any = None,  # noqa: ANN401  any object
        **_: Any,  # noqa: ANN401
    ) -> Connection:
        """Give the connection on which a flush writes an object."""
        state: InstanceState[Any] = inspect(instance)
        of = state.mapper

        def place(shard_map: ShardMap) -> dict[str, None]:
            return {self._home(of, state, shard_map): None}

        (shard,) = self.on_shards.enter(place, writes=True)
        table = self.shards.keys.table_of(of)
        if state.key is None and table is not None:
            state.identity_token = shard
            self.shards.hit([self.shards.keys.instance(table, of, state)], shard)
        return super().connection(bind_arguments={"shard": shard})

    def merge(self, instance: Any, **options: Any) -> Any:  # noqa: ANN401  as in `Session`
        """Bring an object in, and find those that are there already on the shards of their keys."""
        state = inspect(instance)
        related = (each for *_, each, _ in state.mapper.cascade_iterator("merge", state))
        for each in (state, *related):
            if each.key is None and self.shards.keys.table_of(each.mapper) is not None:
                each.identity_token = self._home(each.mapper, each, self.on_shards.map)
        return super().merge(instance, **options)

    def _bulk_save_mappings(self, *_: Any, **__: Any) -> None:  # noqa: ANN401  what SQLAlchemy gives
        raise ConfigError(
            "ShardedSession: bulk_…() knows one database only: execute(insert(…), […]) splits rows "
            "by shard, and add_all() objects"
        )

    def _identity_lookup(
        self,
        mapper: Mapper[Any],
        primary_key_identity: Any,  # noqa: ANN401  as in `Session`
        identity_token: Any = None,  # noqa: ANN401
        *args: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if identity_token is None:
            identity_token = self._shard_of_identity(mapper, primary_key_identity, options)
        return super()._identity_lookup(
            mapper, primary_key_identity, identity_token, *args, **options
        )

    # What routing asks.

    @property
    def on_shards(self) -> ShardTransaction:
        """The present transaction on the shards."""
        if self._on_shards is None:
            self.shards.catch_up(asynchronous=self._asynchronous)
            self._on_shards = ShardTransaction(self.shards, self._connect)
            if not self.identity_map:
                self._epoch = None
        return self._on_shards

    def enter(self, place: Place, *, writes: bool) -> str:
        """Be let in by the one shard that `place` says."""
        (shard,) = self.on_shards.enter(place, writes=writes)
        return shard

    @contextmanager
    def only(self, shard: str) -> Iterator[None]:
        """Let SQLAlchemy write many rows at once, for which it knows one connection only."""
        self._only = shard
        self.connection_callable = None  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            self._only = None
            del self.connection_callable

    def connected(self, shard: str) -> Connection:
        """Give the connection to a shard that let us in."""
        return super().connection(bind_arguments={"shard": shard})

    def any_shard(self, shard_map: ShardMap) -> str:
        """Where to read what is the same everywhere."""
        return self.shards.any_shard(self.on_shards.inside, shard_map)

    def home_of(self, state: InstanceState[Any], shard_map: ShardMap) -> str | None:
        """The shard of an object that something is loaded for; None if it is on all of them."""
        if self.shards.keys.table_of(state.mapper) is None:
            return None
        return self._home(state.mapper, state, shard_map)

    def _connect(self, shard: str) -> Connection:
        """Connect the outermost transaction: a savepoint begins after it was let in."""
        if (root := self.get_transaction()) is not None:
            return root.connection(None, self._options, shard=shard)
        return super().connection(bind_arguments={"shard": shard}, execution_options=self._options)

    def _placed(self, shard: str | None) -> Place:
        if shard is None and self.shard_key is None:
            raise NoShardKey(
                "ShardedSession: connection() has to say which shard it is for: session(key=…) or "
                "connection(bind_arguments={'shard': …})"
            )
        return lambda shard_map: {shard or shard_map.shard(self.shard_key): None}

    def _home(self, mapper: Mapper[Any], state: InstanceState[Any], shard_map: ShardMap) -> str:
        """Where an object is or will be; of a row that is on all shards, the first of them."""
        keys = self.shards.keys
        table = keys.table_of(mapper)
        if table is None:
            return shard_map.shards[0]
        if state.key is None or state.key[2] is None:
            return shard_map.shard(keys.instance(table, mapper, state))
        shard = str(state.key[2])
        key = keys.known(table, mapper, state)
        if key is None and self._epoch not in {None, shard_map.epoch}:
            for column in keys.columns(table):
                getattr(state.obj(), mapper.get_property_by_column(column).key)
            key = keys.known(table, mapper, state)
        if key is not None and (now := shard_map.shard(key)) != shard:
            name = mapper.get_property_by_column(keys.columns(table)[0]).key
            if name in state.committed_state:
                raise NoShardKey(
                    f"ShardedSession: {table.fullname}: {name} = {key!r} is on the shard {now!r}, "
                    f"and the object on {shard!r}: make a new one there and delete this one"
                )
            raise MapOutdated(
                f"ShardedSession: {table.fullname}: what belongs to {key!r} has moved from "
                f"{shard!r} to {now!r} since the object was loaded; load it again"
            )
        return shard

    def _shard_of_identity(self, mapper: Any, identity: Any, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
        mapper = inspect(mapper).mapper
        table = self.shards.keys.table_of(mapper)
        if table is None:
            return None
        shard_map = self.on_shards.map
        if shard := (options.get("bind_arguments") or {}).get("shard"):
            return shard
        if (parent := options.get("lazy_loaded_from")) is not None and (
            home := self.home_of(parent, shard_map)
        ):
            return home
        key = self.shards.keys.identity(table, mapper, identity)
        if key is None:
            key = (options.get("execution_options") or {}).get("shard_key", self.shard_key)
        return None if key is None else shard_map.shard(key)

    def _forget(self) -> None:
        """The transaction is over; the objects stay those of the map that it went by."""
        if self._on_shards is not None and self._epoch is None:
            self._epoch = self._on_shards.map.epoch
        self._on_shards = None


@event.listens_for(ShardedSession, "do_orm_execute", retval=True)
def _execute(state: ORMExecuteState) -> Result[Any] | None:
    return route(state.session, state)  # type: ignore[arg-type]


@event.listens_for(ShardedSession, "after_flush")
def _flushed(session: ShardedSession, _: object) -> None:
    copy_references(session)


@event.listens_for(ShardedSession, "after_soft_rollback")
def _rolled_back(session: ShardedSession, previous: SessionTransaction) -> None:
    if previous.nested and session._on_shards is not None:  # noqa: SLF001
        session._on_shards.savepoint_gone()  # noqa: SLF001


@event.listens_for(ShardedSession, "after_transaction_end")
def _ended(session: ShardedSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._forget()  # noqa: SLF001

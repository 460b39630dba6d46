"""Ask all shards at once, on purpose: the statement says so, and how many it may ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy.sql.base import Executable

from escala.errors import ConfigError, NoShardKey
from escala.kernel.wrong_value import sentence, shown

S = TypeVar("S", bound=Executable)
_OPTION = "escala_scatter"


def scatter(statement: S, *, max_shards: int) -> S:
    """Reach for it where a question has no shard key: it goes to every shard, and is merged.

    >>> from sqlalchemy import column, select, table
    >>> orders = table("orders", column("at"))
    >>> newest = scatter(select(orders.c.at).order_by(orders.c.at.desc()).limit(20), max_shards=8)

    `session.scalars(newest)` on a session over shards then gives what one database would, in
    order, or raises `CannotMerge` with the reason before anything is asked. The work is that of
    all shards, so `max_shards` says how many the caller is ready to pay for: on more of them the
    statement is refused (`NoShardKey`). An update or delete is made on every shard.

    Raises `ConfigError` when `max_shards` is no number above 0.
    """
    whole: object = max_shards
    if not isinstance(whole, int) or isinstance(whole, bool) or whole < 1:
        found = sentence("a number of shards >= 1", shown(max_shards))
        raise ConfigError(f"scatter: max_shards: {found}")
    return statement.execution_options(**{_OPTION: max_shards})


def budget(options: Mapping[str, Any]) -> int | None:
    """Give the `max_shards` among a statement's execution options; None if it is no scatter."""
    found: int | None = options.get(_OPTION)
    return found


def without_budget(statement: S) -> S:
    """Make what is sent to a shard: what it loads there by itself is no scatter any more."""
    return statement.execution_options(**{_OPTION: None})


def within_budget(limit: int, shards: int) -> None:
    """Raise `NoShardKey` when there are more shards than the statement may ask."""
    if shards > limit:
        raise NoShardKey(
            f"scatter: this statement may ask {limit} shards (max_shards) and there are {shards}: "
            "say which shard it is for by a key, or allow more"
        )

"""What a session over shards knows of SQLAlchemy's insides, apart from the names it overrides."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.orm.context import QueryContext


def from_shard(shard: str, state: ORMExecuteState) -> dict[str, Any]:
    """Make the options by which objects that a statement loads or returns know their shard."""
    if state.is_select:
        return {"identity_token": shard}
    options: Any = QueryContext.default_load_options
    returned = options + {"_identity_token": shard}
    return {"identity_token": shard, "_sa_orm_load_options": returned}

"""Whether a connection leads to the server that it is taken for."""

from __future__ import annotations

from typing import NamedTuple

from escala.databases.pure.topology import View
from escala.errors import Fenced, NoPrimary


class Identity(NamedTuple):
    """What a server says of itself on a new connection."""

    system_id: int
    in_recovery: bool
    timeline: int


def check(found: Identity, name: str, view: View, *, writes: bool) -> None:
    """Raises `Fenced` or `NoPrimary` where a connection must not be used, for writes or reads."""
    if view.system_id is not None and found.system_id != view.system_id:
        raise Fenced(
            f"{name} belongs to another cluster: it has the system identifier {found.system_id}, "
            f"the database {view.system_id}. Take it out of the URL"
        )
    if not found.in_recovery and found.timeline < view.timeline:
        raise Fenced(
            f"{name} writes timeline {found.timeline}, and the cluster is at {view.timeline}: it "
            "is an old primary. Make it a standby of the new one (pg_rewind or pg_basebackup)"
        )
    if writes and found.in_recovery:
        raise NoPrimary(f"{name} is a standby now, and takes no writes; try again")

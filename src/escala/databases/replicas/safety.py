"""What a `Database` does about a lost primary, beside watching it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from escala.databases.pure.durability import Durability, judge
from escala.errors import ConfigError, NoPrimary, StoreUnavailable
from escala.kernel.events import Event, publish
from escala.kernel.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from escala.databases.replicas.cluster import Cluster
    from escala.databases.replicas.failover import Promoted
    from escala.databases.replicas.failover_node import FailoverNode, Look
    from escala.databases.replicas.node import Node

_GLANCE = 0.01
_PATIENCE = 1.0


class FailedOver(Event, frozen=True, kw_only=True):
    """The database `name` was given another primary, `took` seconds after it was asked to.

    `kept` says whether the new one surely has every acknowledged commit.
    """

    node: str
    timeline: int
    kept: bool
    took: float


async def failed_over(
    nodes: Sequence[Node], cluster: Cluster, runtime: Runtime, *, to: str | None, allow_loss: bool
) -> Promoted:
    """Do it, and wait until the monitor, if there is one, knows the new primary."""
    from escala.databases.replicas.failover import Failover

    began = runtime.now()
    failover = Failover(
        _failover_nodes(nodes), known=cluster.settings, timeline=cluster.view.timeline
    )
    done = await failover.run(runtime, to=to, allow_loss=allow_loss)
    for node in range(len(nodes)):
        cluster.suspect(node)
    until = runtime.now() + _PATIENCE
    while cluster.looked and _primary(cluster) != done.node and runtime.now() < until:
        await runtime.sleep(_GLANCE)
    if done.changed:
        now = runtime.now()
        publish(
            FailedOver(
                name=cluster.name,
                at=now,
                node=done.node,
                timeline=done.timeline,
                kept=done.kept,
                took=now - began,
            )
        )
    return done


async def durability(nodes: Sequence[Node], runtime: Runtime) -> Durability:
    """Ask every node, and judge by what the primary is set to."""
    primary: Look | None = None
    standbys: list[str] = []
    why: list[str] = []
    for node in _failover_nodes(nodes):
        try:
            look = await node.look(runtime)
        except StoreUnavailable as error:
            why.append(str(error))
            continue
        finally:
            node.close()
        if look.in_recovery:
            standbys.append(look.name)
        elif primary is None or look.timeline > primary.timeline:
            primary = look
    if primary is None:
        raise NoPrimary("durability: no primary can be asked (" + "; ".join(why) + ")")
    return judge(primary.settings, standbys)


def _failover_nodes(nodes: Sequence[Node]) -> list[FailoverNode]:
    from escala.databases.replicas.failover_node import FailoverNode

    if nodes[0].url.sqlite:
        raise ConfigError("failover: expected nodes of PostgreSQL, found SQLite: it has no standby")
    return [FailoverNode(node.name, node.url.conninfo, patience=_PATIENCE) for node in nodes]


def _primary(cluster: Cluster) -> str | None:
    view = cluster.view
    return None if view.primary is None else view.nodes[view.primary].name

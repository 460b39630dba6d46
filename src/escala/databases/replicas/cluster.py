"""What is known of a database's nodes, shared by its monitor and its sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable

from escala.databases.pure.durability import SyncSettings
from escala.databases.pure.topology import Sighting, Topology, View
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.events import Event, publish


class ReplicaChanged(Event, frozen=True, kw_only=True):
    """A node of the database `name` is read from now on, or is not any more, and why."""

    node: str
    readable: bool
    reason: str


class PrimaryChanged(Event, frozen=True, kw_only=True):
    """The database `name` has another primary; `node` is empty while there is none."""

    node: str
    timeline: int


class Cluster:
    """A `Topology` under a lock; `view` is the newest, to be read without one."""

    def __init__(self, name: str, topology: Topology) -> None:
        self.name = name
        self._topology = topology
        self._lock = threading.RLock()
        self.view: View = topology.view()
        self.looked: set[int] = set()
        """Nodes that have answered or failed at least once."""
        self.suspect: Callable[[int], None] = lambda _: None
        """Have the monitor look at a node now."""
        self.settings: SyncSettings | None = None
        """The synchronous settings that the primary had when it was seen last."""
        self._said: dict[int, SyncSettings] = {}  # node: the same, before it is known as primary
        begin_anew(self, Cluster._forked)

    def _forked(self) -> None:
        free(self._lock)

    def saw(self, sighting: Sighting, settings: SyncSettings | None = None) -> None:
        """A node answered, and said how it waits for its standbys."""
        with self._lock:
            before, self.view = self.view, self._topology.saw(sighting)
            if settings is not None and not sighting.in_recovery:
                self._said[sighting.node] = settings
            if self.view.primary is not None:
                self.settings = self._said.get(self.view.primary, self.settings)
            self.looked.add(sighting.node)
            after = self.view
        self._tell(before, after, sighting.at)

    def failed(self, node: int, at: float, reason: str) -> None:
        """A node did not answer."""
        with self._lock:
            before, self.view = self.view, self._topology.failed(node, at, reason)
            self.looked.add(node)
            after = self.view
        self._tell(before, after, at)

    def unwatched(self, at: float) -> None:
        """No one looks any more, so no replica can be read: who knows how far it is."""
        for node in range(len(self.view.nodes)):
            self.failed(node, at, "the database was closed")
        self.looked.clear()

    def why(self) -> str:
        """Each node and what is the matter with it, for an error's text."""
        if not self.looked:
            return "it is not open: db.open(), await db.aopen(), `with db:` or `async with db:`"
        nodes = self.view.nodes
        return "; ".join(f"{node.name}: {node.reason or 'it is a replica'}" for node in nodes)

    def _tell(self, before: View, after: View, at: float) -> None:
        if before.generation != after.generation:
            found = after.primary
            node = "" if found is None else after.nodes[found].name
            publish(PrimaryChanged(name=self.name, at=at, node=node, timeline=after.timeline))
        if before.readable is after.readable:
            return
        for old, new in zip(before.nodes, after.nodes, strict=True):
            if old.readable != new.readable:
                publish(
                    ReplicaChanged(
                        name=self.name,
                        at=at,
                        node=new.name,
                        readable=new.readable,
                        reason=new.reason,
                    )
                )

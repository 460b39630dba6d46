"""Asks every node a few times a second what it is and how far it has come."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from escala.databases.pure.durability import SyncSettings
from escala.databases.pure.topology import Sighting
from escala.databases.pure.wal_position import without_header
from escala.databases.replicas.cluster import Cluster
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.runtime import colours, drive
from escala.stores.postgres_link import PostgresLink

# No value of type pg_lsn leaves the server: drivers disagree about it.
LOOK = """
SELECT (SELECT system_identifier FROM pg_control_system()),
  pg_is_in_recovery()::int,
  CASE WHEN pg_is_in_recovery() THEN greatest(
    (SELECT received_tli FROM pg_stat_wal_receiver),
    (SELECT timeline_id FROM pg_control_checkpoint()))
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_insert_lsn() END, '0/0')::bigint,
  coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0'), 0)::bigint,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
  current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
  current_setting('cluster_name')
"""


class Monitor:
    """A thread for each node, so that one that hangs holds up no other.

    A node is asked every `interval` seconds, and has `patience` seconds to answer, connecting
    included.
    """

    def __init__(
        self, cluster: Cluster, conninfos: Sequence[str], *, interval: float, patience: float
    ) -> None:
        self._cluster, self._interval = cluster, interval
        self._links = [
            PostgresLink(each, "SET statement_timeout = '10s'", keep=1, patience=patience)
            for each in conninfos
        ]
        self._wakes = [threading.Event() for _ in conninfos]
        self._lock = threading.RLock()
        self._run: list[threading.Thread] = []
        self._open = False
        cluster.suspect = self.look
        begin_anew(self, Monitor._forked)

    def _forked(self) -> None:
        free(self._lock)
        self._wakes = [threading.Event() for _ in self._wakes]
        self._run = []
        if self._open:
            self._start()

    def start(self) -> bool:
        """Begin to look; False if it does already."""
        with self._lock:
            if self._open:
                return False
            self._open = True
            self._start()
            return True

    def stop(self) -> None:
        """End, and close the connections."""
        with self._lock:
            self._open = False
            run, self._run = self._run, []
        for wake in self._wakes:
            wake.set()
        for thread in run:
            if thread is not threading.current_thread():  # a subscriber of an event closes it
                thread.join()
        for link in self._links:
            link.close()
        if run:
            self._cluster.unwatched(colours.thread.now())

    def look(self, node: int) -> None:
        """Ask this node now; someone has had trouble with it."""
        self._wakes[node].set()

    def _start(self) -> None:
        for node in range(len(self._links)):
            thread = threading.Thread(
                target=self._watch, args=(node,), name=f"escala-monitor-{node}", daemon=True
            )
            self._run.append(thread)
            thread.start()

    def _watch(self, node: int) -> None:
        wake = self._wakes[node]
        while threading.current_thread() in self._run:  # another run has other threads
            wake.clear()
            self._ask(node)
            wake.wait(self._interval)

    def _ask(self, node: int) -> None:
        runtime = colours.thread
        began = runtime.now()
        try:
            rows = drive(self._links[node].ask(LOOK, (), runtime))
            sighting = _sighting(node, began, runtime.now(), rows[0])
            settings = SyncSettings(*((each or b"").decode() for each in rows[0][6:]))
        except Exception as error:  # noqa: BLE001  whatever it is, the node did not answer
            self._cluster.failed(node, runtime.now(), str(error) or type(error).__name__)
        else:
            self._cluster.saw(sighting, settings)


def _sighting(node: int, began: float, at: float, row: Sequence[bytes | None]) -> Sighting:
    system, recovery, timeline, lsn, received, age = (each or b"" for each in row[:6])
    return Sighting(
        node=node,
        began=began,
        at=at,
        system_id=int(system),
        in_recovery=recovery == b"1",
        timeline=int(timeline),
        lsn=int(lsn) if recovery == b"1" else without_header(int(lsn)),
        received=int(received),
        age=float(age) if age else None,
    )

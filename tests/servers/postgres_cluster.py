"""A primary and its streaming replicas for a test: they fail, lag, are promoted and come back."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.servers.postgres_server import PostgresServer, postgres_folder, program, run

_PATIENCE = 30.0
_SETTINGS: dict[str, str | int] = {
    "max_connections": 100,  # a standby needs as many as initdb wrote into its control file
    "wal_level": "logical",
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "max_prepared_transactions": 20,
    "wal_log_hints": "on",
    "wal_keep_size": "512MB",  # instead of slots, so that no one who is gone keeps anything
    "wal_receiver_status_interval": 1,
    "wal_retrieve_retry_interval": "100ms",
}


def until(true: Callable[[], object], what: str, patience: float = _PATIENCE) -> None:
    """Wait until something is so; the test fails if it takes too long."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain until {what}"
        time.sleep(0.02)


class PostgresNode(PostgresServer):
    """One server of a cluster; its name is the `application_name` that the primary knows it by."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str | int]) -> None:
        folder.mkdir()
        super().__init__(folder, {**_SETTINGS, **settings, "cluster_name": name})
        self.name = name
        self._source: PostgresNode | None = None

    @property
    def in_recovery(self) -> bool:
        return bool(self.sql("SELECT pg_is_in_recovery()")[0][0])

    @property
    def timeline(self) -> int:
        """The timeline that a primary writes; `pg_control_checkpoint` is late after a promotion."""
        name = self.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0]
        return int(name[:8], 16)

    @property
    def lsn(self) -> int:
        """Bytes of WAL that it has on disk, its own or as a standby received.

        The insert LSN would be behind the header of a page that is not yet begun: no standby
        gets there before the next record comes.
        """
        return int(
            self.sql(
                "SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() "
                "THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END, '0/0')"
            )[0][0]
        )

    @property
    def replayed(self) -> int:
        """Bytes of WAL that a standby shows in its answers."""
        return int(self.sql("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')")[0][0])

    def be_standby_of(self, source: PostgresNode) -> None:
        """Before it starts: what makes it a standby."""
        self._source = source
        (self.data / "standby.signal").touch()
        if self.account:
            shutil.chown(self.data / "standby.signal", self.account)
        with (self.data / "postgresql.auto.conf").open("a") as lines:
            lines.write(f"primary_conninfo = '{self._conninfo(source)}'\n")

    def follow(self, source: PostgresNode) -> None:
        """Stream from another node from now on, without a restart."""
        self._source = source
        self._receive(self._conninfo(source))

    def cut_wal(self) -> None:
        """Receive nothing any more: the network to the primary is gone, and both go on."""
        self._receive(self._conninfo(None))
        gone = "SELECT count(*) = 0 FROM pg_stat_wal_receiver"
        until(lambda: self.sql(gone)[0][0], f"{self.name} receives nothing")

    def restore_wal(self) -> None:
        """Receive again from where it did before."""
        assert self._source is not None, f"{self.name} is no standby"
        self.follow(self._source)

    def pause_replay(self) -> None:
        """Receive WAL and do not show it: lag that stays."""
        self.sql("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        until(lambda: self.sql(state)[0][0], f"{self.name} pauses")

    def resume_replay(self) -> None:
        self.sql("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary, with a timeline of its own."""
        assert self.sql("SELECT pg_promote(true, 30)")[0][0], f"{self.name} was not promoted"
        self._source = None

    def _conninfo(self, source: PostgresNode | None) -> str:
        port = source.port if source else 1  # no one listens there
        who = f"host=127.0.0.1 port={port} user=escala application_name={self.name}"
        return f"{who} connect_timeout=5"

    def _receive(self, conninfo: str) -> None:
        self.sql(f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        self.sql("SELECT pg_reload_conf()")


class PostgresCluster:
    """`nodes[0]` ("n0") starts as the primary, the others as its replicas."""

    def __init__(self, folder: Path, replicas: int, settings: Mapping[str, str | int]) -> None:
        self.nodes = [
            PostgresNode(folder / f"n{number}", f"n{number}", settings)
            for number in range(1 + replicas)
        ]
        self.primary = self.nodes[0]
        for node in self.nodes[1:]:
            node.be_standby_of(self.primary)

    @property
    def replicas(self) -> list[PostgresNode]:
        """All but the primary, in their order."""
        return [node for node in self.nodes if node is not self.primary]

    @property
    def url(self) -> str:
        """All nodes in one URL, as libpq reads it."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://escala@{hosts}/postgres"

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        self.wait_streaming()

    def wait_streaming(self, *names: str) -> None:
        """Wait until these replicas stream from the primary; without names, all that run."""
        wanted = set(names) or {node.name for node in self.replicas if node.running}

        def streams() -> bool:
            rows = self.primary.sql(
                "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
            )
            return wanted <= {row[0] for row in rows}

        until(streams, f"{', '.join(sorted(wanted))} stream")

    def wait_caught_up(self) -> None:
        """Wait until every replica that runs shows all that the primary has written."""
        lsn = self.primary.lsn
        running = [node for node in self.replicas if node.running]
        until(lambda: all(node.replayed >= lsn for node in running), "replicas have caught up")

    def promote(self, node: PostgresNode) -> None:
        """Make a replica the primary, and let the others that run follow it."""
        old, self.primary = self.primary, node
        node.promote()
        for other in self.replicas:
            if other is not old and other.running:
                other.follow(node)

    def rejoin(self, node: PostgresNode) -> None:
        """Bring a node back as a replica of the primary, with a new base backup."""
        if node.running:
            node.kill()
        shutil.rmtree(node.data)
        source = f"host=127.0.0.1 port={self.primary.port} user=escala"
        words = ("-X", "stream", "-c", "fast", "--no-sync")
        run(program("pg_basebackup"), "-d", source, "-D", str(node.data), *words, cwd=node.folder)
        node.configure({"cluster_name": node.name})
        node.be_standby_of(self.primary)
        node.start()
        self.wait_streaming(node.name)

    def stop(self) -> None:
        for node in self.nodes:  # no one has to be heard out, and a frozen one would not answer
            if node.running:
                node.freeze(signal.SIGCONT)
                node.kill()


@contextlib.contextmanager
def postgres_cluster(replicas: int = 2, **settings: str | int) -> Iterator[PostgresCluster]:
    """A running primary with replicas that stream from it, all gone afterwards.

    Settings are by name, and hold on every node, for each may become the primary:
    `postgres_cluster(2, synchronous_standby_names="ANY 1 (n0, n1, n2)")`.
    """
    with postgres_folder() as folder:
        cluster = PostgresCluster(folder, replicas, settings)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()

"""Live tests interrupt their children: no one who starts us may have switched that off."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.servers.postgres_cluster import PostgresCluster, postgres_cluster


def pytest_configure() -> None:
    """A child inherits an ignored SIGINT (a shell's background job), but never a handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One cluster with two replicas for all tests that leave it as they found it.

    They belong to the group "postgres", so that it is started once: the roles stay as they are,
    every node runs, receives and replays, and each test has tables or a database of its own.
    """
    with postgres_cluster(2) as cluster:
        yield cluster

"""Eight processes with a node each, and one that is killed and begins again.

ESCALA_SNOWFLAKES is how many ids each gives: a million for a long look.
"""

from __future__ import annotations

import os
import subprocess
import sys
from array import array

import pytest

from escala import Snowflake

pytestmark = pytest.mark.live

COUNT = int(os.environ.get("ESCALA_SNOWFLAKES", "20000"))
PROCESSES = 8

GIVE = """
import sys
from array import array
from escala import Snowflake
node, count = map(int, sys.argv[1:])
ids = Snowflake(node=node)
array("Q", (ids.next() for _ in range(count))).tofile(sys.stdout.buffer)
"""


def started(node: int, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", GIVE, str(node), str(count)], stdout=subprocess.PIPE
    )


def ids_of(process: subprocess.Popen[bytes]) -> array[int]:
    given = array("Q")
    given.frombytes(process.communicate()[0])
    assert process.returncode == 0
    return given


@pytest.mark.timeout(300)
def test_eight_processes_give_different_ids_each_in_ascending_order() -> None:
    processes = [started(node, COUNT) for node in range(PROCESSES)]
    every = [ids_of(process) for process in processes]
    for node, ids in enumerate(every):
        assert len(ids) == COUNT
        assert all(ids[at] < ids[at + 1] for at in range(COUNT - 1))
        assert Snowflake(node=0).decode(ids[-1]).node == node
    assert len(set().union(*every)) == PROCESSES * COUNT


def test_one_that_begins_again_with_its_node_gives_later_ones() -> None:
    first = ids_of(started(7, 200))
    again = ids_of(started(7, 200))
    assert again[0] > first[-1]

"""Moves slots between three shards under load, and kills the coordinator at each step.

A process of its own without threads, so that it can fork. Arguments: folder, the statements of a
command at which to kill (such as "3,17", or "all"). Prints what it found as JSON.

A turn takes the shards from two to three, or from three to two: run, abort, run, cutover,
reverse, run, cutover, complete. Each of run, abort, cutover, reverse and complete is killed right
before its n-th statement that changes anything, and given again.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.order_routers import APART, Routers
from tests.servers.shard_servers import left_behind, make_shards, orders, shard_servers

from escala.databases.resharding.node import Node
from escala.databases.resharding.reshard import Reshard
from escala.databases.sharding.shard_map import ShardMap

NAMES, FEW = ("s0", "s1", "s2"), ("s0", "s1")
TENANTS, ROWS = 400, 8000
TURN = ("run", "abort", "run", "cutover", "reverse", "run", "cutover", "complete")
_CHANGES = re.compile(
    r"\s*(BEGIN|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|SELECT pg_(create|drop|replication))"
)


def killed_at(number: int) -> list[int]:
    """Have this process killed right before that change; where the count is kept."""
    count = [0]
    run = Node._run

    def counted(self: Node, sql: str, values: Any) -> Any:
        if _CHANGES.match(sql):
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return run(self, sql, values)

    Node._run = counted  # type: ignore[method-assign]
    return count


def command(
    name: str, urls: Mapping[str, str], goal: Sequence[str], number: int = 0
) -> tuple[bool, list[float]]:
    """Give a command in a process of its own; whether it was killed, and the pauses so far."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(ours)
            killed_at(number)
            reshard = Reshard(urls, tables={"orders": "tenant_id"})
            if name == "run":
                to = reshard.current_map().with_shards(goal)
                reshard = Reshard(urls, tables={"orders": "tenant_id"}, to=to)
            status = getattr(reshard, name)()
            pauses = [pause for pair in status for pause in pair.pauses]
            os.write(theirs, json.dumps(pauses).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001  a child returns to no one
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)
    os.close(theirs)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    if os.WIFSIGNALED(status):
        return True, []
    assert status == 0, f"{name} failed after a kill at {number}"
    return False, json.loads(text)


def turns(urls: Mapping[str, str], points: Iterable[int]) -> dict[str, Any]:
    killed: dict[str, int] = {}
    pauses: list[float] = []
    at = 0
    goals = itertools.cycle((NAMES, FEW))
    for number, goal in zip(points, goals, strict=False):
        any_killed = False
        seen = set()
        for name in TURN:
            at_point = number if name not in seen else 0
            seen.add(name)
            was_killed, waited = command(name, urls, goal, at_point)
            if was_killed:
                any_killed = True
                killed[name] = killed.get(name, 0) + 1
                _, waited = command(name, urls, goal)
            pauses += waited
            if name in ("abort", "complete"):
                assert not (left := left_behind(urls)), (name, number, left)
        at = number
        if not any_killed:
            break
    return {"killed": killed, "longest_pause": max(pauses, default=0.0), "last": at}


def main() -> None:
    folder, said = Path(sys.argv[1]), sys.argv[2]
    points = itertools.count(1) if said == "all" else [int(each) for each in said.split(",")]
    with shard_servers(*NAMES) as servers:
        urls = {name: server.url for name, server in servers.items()}
        make_shards(urls, ShardMap.slots(FEW, key="tenant_id"), tenants=TENANTS, rows=ROWS)
        routers = Routers(urls, ShardMap.slots(FEW, key="tenant_id"), TENANTS, folder)
        try:
            found = turns(urls, points)
        except BaseException:
            routers.kill()
            raise
        known, writes, longest, _ = routers.stop()
        there = orders(urls, Reshard(urls, tables={"orders": "tenant_id"}).current_map())
    ours = {number: value for number, value in there.items() if number >= APART}
    found |= {
        "writes": writes,
        "longest_write": longest,
        "lost": sorted(known.keys() - ours.keys()),
        "resurrected": sorted(ours.keys() - known.keys()),
        "wrong": sorted(each for each in known.keys() & ours.keys() if known[each] != ours[each]),
        "rows": ROWS,
        "untouched": len(there) - len(ours),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

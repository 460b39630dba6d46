"""What travels with a call: the request it serves and its deadline."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from contextlib import suppress

from escala.kernel.context import (
    Request,
    current_request,
    deadline,
    remaining,
    restore,
    serving,
    shorten,
)
from escala.testing import VirtualRuntime


def test_a_request_says_nothing_unless_told() -> None:
    request = Request()
    assert (request.key, request.idempotent, request.priority) == (None, None, 0)
    assert (request.tenant, request.notes) == (None, {})
    assert request.get("key") is request.get("tenant") is request.get("colour") is None
    assert request.repeatable is True


def test_a_request_groups_by_name() -> None:
    request = Request(key="cart:7", idempotent=True, priority=5, tenant="acme")
    assert (request.get("key"), request.get("tenant")) == ("cart:7", "acme")
    assert request.get("priority") is None


def test_notes_belong_to_one_request() -> None:
    one, two = Request(), Request()
    one.notes["attempts"] = "2"
    assert two.notes == {}


def test_serving_nests_and_ends() -> None:
    outer, inner = Request(key="outer"), Request(key="inner")
    assert current_request() is None
    with serving(outer) as entered:
        assert entered is current_request() is outer
        with suppress(ValueError), serving(inner):
            assert current_request() is inner
            raise ValueError
        assert current_request() is outer
    assert current_request() is None


def test_each_task_serves_its_own_and_inherits_its_parents() -> None:
    world, seen = VirtualRuntime(), dict[str, Request | None]()

    async def child(name: str, own: Request | None) -> None:
        if own is None:
            await world.sleep(1)
            seen[name] = current_request()
            return
        with serving(own):
            await world.sleep(1)
            seen[name] = current_request()

    mine, its = Request(), Request()

    async def main() -> None:
        with serving(mine):
            tasks = [
                asyncio.create_task(child("its own", its)),
                asyncio.create_task(child("inherited", None)),
            ]
        assert current_request() is None
        await asyncio.gather(*tasks)

    world.run(main())
    assert seen == {"its own": its, "inherited": mine}


def test_there_is_no_deadline_unless_set() -> None:
    assert deadline() == math.inf
    assert remaining(1e9) == math.inf


def test_a_deadline_only_gets_shorter() -> None:
    first = shorten(10)
    assert (deadline(), remaining(4), remaining(12)) == (10, 6, -2)
    second = shorten(20)
    assert deadline() == 10
    third = shorten(5)
    assert deadline() == 5
    for token, expected in ((third, 10), (second, 10), (first, math.inf)):
        restore(token)
        assert deadline() == expected


def test_threads_start_without_one_and_copies_of_a_context_with_it() -> None:
    seen: list[float] = []

    def look() -> None:
        seen.append(deadline())

    token = shorten(10)
    inherited = contextvars.copy_context()
    for thread in (
        threading.Thread(target=look),
        threading.Thread(target=inherited.run, args=[look]),
    ):
        thread.start()
        thread.join()
    restore(token)
    assert seen == [math.inf, 10]


def test_to_restore_in_another_context_changes_nothing() -> None:
    elsewhere = contextvars.copy_context()
    token = elsewhere.run(shorten, 10)
    mine = shorten(20)
    restore(token)
    assert (deadline(), elsewhere.run(deadline)) == (20, 10)
    restore(mine)

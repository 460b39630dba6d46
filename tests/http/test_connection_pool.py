from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.http.wire import Wire, passes, settle, virtually

from escala.errors import BackendError, BackendUnreachable
from escala.http.client_connection import ClientConnection
from escala.http.connection_pool import ConnectionPool
from escala.http.message import HttpRequest, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Net:
    """Dials wires instead of sockets, and keeps them."""

    def __init__(self, *, takes: float = 0.0, error: OSError | None = None) -> None:
        self.wires: list[Wire] = []
        self.takes, self.error = takes, error

    async def dial(
        self, factory: Callable[[], ClientConnection], host: str, port: int
    ) -> ClientConnection:
        if self.takes:
            await passes(self.takes)
        if self.error is not None:
            raise self.error
        wire, connection = Wire(), factory()
        wire.protocol = connection
        connection.connection_made(wire)
        self.wires.append(wire)
        return connection

    def pool(self, **how: float) -> ConnectionPool:
        return ConnectionPool("127.0.0.1", 1, dial=self.dial, **how)  # type: ignore[arg-type]

    def answer(self, at: int, data: bytes = OK) -> None:
        protocol = self.wires[at].protocol
        assert protocol is not None
        protocol.data_received(data)


def ask(pool: ConnectionPool, method: str = "GET") -> asyncio.Task[Response]:
    return asyncio.create_task(pool.exchange(b"HEAD", HttpRequest(method, b"/", [])))


def test_a_connection_is_used_again() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool()
        for _ in range(3):
            task = ask(pool)
            await settle()
            net.answer(0)
            assert (await task).body == b"ok"
        assert len(net.wires) == 1
        assert pool.snapshot() == {"open": 1, "idle": 1, "waiting": 0}

    virtually(main())


def test_callers_beyond_the_limit_wait_in_order_and_lose_nothing_when_cancelled() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool(limit=2)
        tasks = [ask(pool) for _ in range(5)]
        await settle()
        assert pool.snapshot() == {"open": 2, "idle": 0, "waiting": 3}
        tasks[2].cancel()
        net.answer(0)
        await settle()
        assert [task.done() for task in tasks] == [True, False, True, False, False]
        net.answer(0)
        await settle()
        assert [task.done() for task in tasks] == [True, False, True, True, False]
        net.answer(0)
        net.answer(1)
        await settle()
        assert all(task.done() for task in tasks)
        assert len(net.wires) == 2
        assert pool.snapshot() == {"open": 2, "idle": 2, "waiting": 0}

    virtually(main())


def test_a_caller_cancelled_in_the_tick_of_its_turn_passes_it_on() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool(limit=1)
        first, second, third = ask(pool), ask(pool), ask(pool)
        await settle()
        net.answer(0)  # hands the connection to `second`, which has not run yet
        second.cancel()
        await settle()
        net.answer(0)
        await settle()
        assert first.done()
        assert second.cancelled()
        assert third.done()
        assert pool.snapshot() == {"open": 1, "idle": 1, "waiting": 0}

    virtually(main())


def test_a_broken_connection_makes_room() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool(limit=1)
        first, second = ask(pool), ask(pool)
        await settle()
        net.wires[0].close()
        await settle()
        with pytest.raises(BackendError):
            await first
        net.answer(1)
        assert (await second).body == b"ok"
        assert pool.snapshot()["open"] == 1

    virtually(main())


def test_an_idle_connection_that_the_target_closes_is_forgotten() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool()
        task = ask(pool)
        await settle()
        net.answer(0)
        await task
        net.wires[0].close()
        await settle()
        assert pool.snapshot() == {"open": 0, "idle": 0, "waiting": 0}

    virtually(main())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stale_connection_is_replaced_for_what_may_be_sent_twice(method: str) -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool()
        task = ask(pool)
        await settle()
        net.answer(0)
        await task
        again = ask(pool, method)
        await settle()
        net.wires[0].close()  # the target closed it at the moment of its reuse
        await settle()
        if method == "POST":
            with pytest.raises(BackendError):
                await again
            return
        net.answer(1)
        assert (await again).body == b"ok"

    virtually(main())


def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool()
        task = ask(pool)
        await settle()
        net.answer(0)
        await task
        again = ask(pool)
        await settle()
        net.answer(0, OK[:20])
        net.wires[0].close()
        await settle()
        with pytest.raises(BackendError):
            await again
        assert len(net.wires) == 1

    virtually(main())


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (Net(takes=5.0), "did not accept a connection in 1 s"),
        (Net(error=ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
    ],
    ids=["silent", "refused"],
)
def test_a_target_that_cannot_be_reached_is_named(net: Net, says: str) -> None:
    async def main() -> None:
        pool = net.pool(connect=1.0)
        with pytest.raises(BackendUnreachable, match=says) as caught:
            await ask(pool)
        assert "127.0.0.1:1" in str(caught.value)
        assert pool.snapshot()["open"] == 0

    virtually(main())


def test_idle_connections_are_reaped_and_a_closed_pool_keeps_none() -> None:
    async def main() -> None:
        net = Net()
        pool = net.pool(idle=60)
        tasks = [ask(pool), ask(pool)]
        await settle()
        net.answer(0)
        await passes(50)
        net.answer(1)
        await asyncio.gather(*tasks)
        await passes(30)
        pool.sweep(asyncio.get_running_loop().time())
        assert net.wires[0].closed
        assert not net.wires[1].closed
        task = ask(pool)
        await settle()
        pool.close()
        assert not net.wires[1].closed
        net.answer(1)
        await task
        await settle()
        assert net.wires[1].closed
        assert pool.snapshot() == {"open": 0, "idle": 0, "waiting": 0}

    virtually(main())

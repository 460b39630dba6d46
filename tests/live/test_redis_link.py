"""Scripts in a real Redis: both colours, one write a tick, hard limits, and lost connections."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from tests.servers.redis_server import RedisServer, own_redis, redis, running, shared_redis

from escala.errors import ConfigError, DeadlineExceeded, StoreUnavailable, WouldBlock
from escala.kernel.context import restore, shorten
from escala.kernel.runtime import Runtime, colours, drive
from escala.resilience import Deadline
from escala.stores.redis_link import RedisLink
from escala.stores.script_link import ScriptLink, open_link

__all__ = ["own_redis", "redis", "shared_redis"]

pytestmark = pytest.mark.live

ECHO = "return {KEYS[1], ARGV[1]}"
COUNT = "return redis.call('INCR', KEYS[1])"
Ask = Callable[[Callable[[Runtime], Awaitable[Any]]], Any]


def in_thread(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.thread)

    return drive(body())


def in_task(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.loop)

    return asyncio.run(body())


both = pytest.mark.parametrize("ask", [in_thread, in_task], ids=["sync", "async"])


async def count(link: ScriptLink, on: Runtime, key: str = "n") -> Any:
    return await link.run(COUNT, (key,), (), on)


def info(server: RedisServer, name: str) -> int:
    found = re.search(rf"{name}:(\d+)", server.ask("INFO", "everything"))
    assert found, name
    return int(found[1])


@both
def test_it_answers_what_the_script_says(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url)
    assert ask(lambda on: link.run(ECHO, ("k",), ("v",), on)) == [b"k", b"v"]
    assert ask(lambda on: link.run(ECHO, (b"\0\xff",), (2.5,), on)) == [b"\0\xff", b"2.5"]
    assert [ask(lambda on: count(link, on)) for _ in range(3)] == [1, 2, 3]
    assert ask(lambda on: link.run("return false", (), (), on)) is None
    link.close()


@both
def test_a_script_that_the_server_forgot_is_sent_again(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url)
    assert ask(lambda on: count(link, on)) == 1
    redis.ask("SCRIPT", "FLUSH")
    assert ask(lambda on: count(link, on)) == 2
    link.close()


@both
def test_an_error_of_the_script_is_the_stores(redis: RedisServer, ask: Ask) -> None:
    redis.ask("SET", "text", "x")
    link = open_link(redis.url)
    where = f"Redis at 127.0.0.1:{redis.port} answered with an error: "
    with pytest.raises(StoreUnavailable, match=where + "ERR value is not an integer"):
        ask(lambda on: count(link, on, "text"))
    with pytest.raises(StoreUnavailable, match=where + "ERR Error compiling script"):
        ask(lambda on: link.run("this is no Lua", (), (), on))
    assert ask(lambda on: count(link, on)) == 1
    link.close()


def test_what_is_asked_in_one_tick_goes_out_in_one_write(redis: RedisServer) -> None:
    link = open_link(redis.url)

    async def main() -> None:
        await count(link, colours.loop)
        before = info(redis, "total_reads_processed"), info(redis, "total_connections_received")
        answers = await asyncio.gather(*[count(link, colours.loop) for _ in range(100)])
        after = info(redis, "total_reads_processed"), info(redis, "total_connections_received")
        assert answers == list(range(2, 102))
        assert after[0] - before[0] <= 8, "most of them are of the questions for these figures"
        assert after[1] - before[1] == 2, "no connection is added"

    asyncio.run(main())


def test_one_that_is_cancelled_takes_no_one_elses_answer(redis: RedisServer) -> None:
    link = open_link(redis.url)

    async def main() -> None:
        def ask(number: int) -> Any:
            return link.run("return tonumber(ARGV[1])", (), (number,), colours.loop)

        await ask(0)
        for rest in (0, 1, 2):  # as soon as they are asked, when they are sent, and later
            tasks = [asyncio.create_task(ask(number)) for number in range(20)]
            for _ in range(rest + 1):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            seen = await asyncio.gather(*tasks, return_exceptions=True)
            assert seen[1::2] == list(range(1, 20, 2))
        assert await ask(7) == 7

    asyncio.run(main())


@both
def test_no_question_takes_longer_than_its_limit(own_redis: RedisServer, ask: Ask) -> None:
    link = open_link(own_redis.url)
    assert ask(lambda on: count(link, on)) == 1
    own_redis.pause()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 40 ms: .*timeout=200ms"):
            ask(lambda on: count(link, on))
        assert 0.035 <= time.monotonic() - began <= 0.25
    own_redis.resume()
    time.sleep(0.05)
    assert ask(lambda on: count(link, on)) >= 2
    link.close()


def test_a_pause_fails_all_who_wait_and_only_them(own_redis: RedisServer) -> None:
    link = open_link(own_redis.url + "?timeout=100ms")

    async def main() -> None:
        await count(link, colours.loop)
        own_redis.pause()
        tasks = [asyncio.create_task(count(link, colours.loop)) for _ in range(10)]
        began = time.monotonic()
        seen = await asyncio.gather(*tasks, return_exceptions=True)
        assert 0.09 <= time.monotonic() - began <= 0.3
        assert {type(each) for each in seen} == {StoreUnavailable}
        own_redis.resume()
        await asyncio.sleep(0.05)
        assert await count(link, colours.loop) >= 2

    asyncio.run(main())


@both
def test_the_deadline_around_the_call_is_nearer(own_redis: RedisServer, ask: Ask) -> None:
    link = open_link(own_redis.url + "?timeout=5s")
    assert ask(lambda on: count(link, on)) == 1
    own_redis.pause()

    def within(on: Runtime) -> Awaitable[Any]:
        return Deadline("60ms").around(lambda: count(link, on), on)

    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        ask(within)
    assert 0.05 <= time.monotonic() - began <= 0.3
    link.close()


@both
def test_after_the_deadline_nothing_is_asked(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url)

    async def late(on: Runtime) -> Any:
        before = shorten(on.now() - 1)
        try:
            return await count(link, on)
        finally:
            restore(before)

    with pytest.raises(DeadlineExceeded, match="over before the store was asked"):
        ask(late)
    assert redis.ask("EXISTS", "n") == ":0\r\n"


@both
def test_a_server_that_went_and_came_back_is_found_again(own_redis: RedisServer, ask: Ask) -> None:
    link = open_link(own_redis.url)
    assert ask(lambda on: count(link, on)) == 1
    own_redis.kill()
    where = f"Redis at 127.0.0.1:{own_redis.port}: .*see whether it is up and reachable"
    with pytest.raises(StoreUnavailable, match=where):
        ask(lambda on: count(link, on))
    own_redis.start()
    assert ask(lambda on: count(link, on)) == 1
    link.close()


def test_a_connection_that_ended_unseen_is_no_error(own_redis: RedisServer) -> None:
    link = open_link(own_redis.url)
    assert in_thread(lambda on: count(link, on)) == 1
    own_redis.kill()
    own_redis.start()
    assert in_thread(lambda on: count(link, on)) == 1
    link.close()


def test_a_loop_sees_that_its_connection_ended(own_redis: RedisServer) -> None:
    link = open_link(own_redis.url)

    async def main() -> None:
        assert await count(link, colours.loop) == 1
        own_redis.kill()
        own_redis.start()
        await asyncio.sleep(0.02)
        assert await count(link, colours.loop) == 1

    asyncio.run(main())


def test_each_thread_in_use_has_a_connection_and_they_are_used_again(redis: RedisServer) -> None:
    link = open_link(redis.url)
    before = info(redis, "total_connections_received")
    seen: list[int] = []

    def work() -> None:
        for _ in range(50):
            seen.append(in_thread(lambda on: count(link, on)))  # noqa: PERF401  as they come

    for _ in range(2):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(seen) == list(range(1, 401))
    assert info(redis, "total_connections_received") - before - 1 <= 8
    link.close()


def test_each_loop_has_its_own_connection_which_ends_with_it(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    clients = info(redis, "connected_clients")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(1, 4):
            assert in_task(lambda on: count(link, on)) == number
            gc.collect()
    time.sleep(0.02)
    assert info(redis, "connected_clients") == clients
    assert len(link._loops) == 1, "a closed loop is forgotten when the next one comes"


def test_two_loops_at_once(redis: RedisServer) -> None:
    link, seen = open_link(redis.url), []

    def work() -> None:
        async def main() -> None:
            for _ in range(50):
                seen.extend(await asyncio.gather(*[count(link, colours.loop) for _ in range(4)]))

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == list(range(1, 401))


def test_closing_ends_connections_and_a_later_question_opens_one(redis: RedisServer) -> None:
    link = open_link(redis.url)
    clients = info(redis, "connected_clients")
    assert in_thread(lambda on: count(link, on)) == 1

    async def main() -> None:
        assert await count(link, colours.loop) == 2
        assert info(redis, "connected_clients") == clients + 2
        link.close()
        link.close()
        await asyncio.sleep(0.02)
        assert info(redis, "connected_clients") == clients
        assert await count(link, colours.loop) == 3

    asyncio.run(main())
    assert in_thread(lambda on: count(link, on)) == 4
    link.close()


def test_closing_from_elsewhere_ends_a_loops_connection(redis: RedisServer) -> None:
    link = open_link(redis.url)

    async def main() -> None:
        await count(link, colours.loop)
        await asyncio.to_thread(link.close)
        await asyncio.sleep(0.02)
        assert await count(link, colours.loop) == 2

    asyncio.run(main())
    link.close()


def test_a_forked_child_has_connections_of_its_own(redis: RedisServer) -> None:
    link = open_link(redis.url)
    assert in_thread(lambda on: count(link, on)) == 1
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answers = [in_thread(lambda on: count(link, on)), in_task(lambda on: count(link, on))]
            code = 0 if answers == [2, 3] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert in_thread(lambda on: count(link, on)) == 4
    link.close()


def test_a_sync_call_in_a_loop_is_refused(redis: RedisServer) -> None:
    link = open_link(redis.url)

    async def main() -> None:
        with pytest.raises(WouldBlock, match="await the `a` twin"):
            await count(link, colours.thread)

    asyncio.run(main())


@both
def test_it_logs_in_and_selects_the_database(ask: Ask) -> None:
    with running("--requirepass", "pass word") as server:
        base = server.url.replace("redis://", "redis://default:pass%20word@")[:-1]
        for db, expected in (("3", 1), ("0", 1), ("3", 2), ("", 2)):
            link = open_link(base + db)
            assert ask(partial(count, link)) == expected
            link.close()


@both
@pytest.mark.parametrize("login", [":secret@", "user:secret@", ""])
def test_a_wrong_password_is_not_shown(ask: Ask, login: str) -> None:
    with running("--requirepass", "right") as server:
        link = open_link(server.url.replace("redis://", f"redis://{login}"))
        said = r"refused the connection: WRONGPASS .*: see the user and the password in the URL$"
        if not login:
            said = r"answered with an error: NOAUTH .*: it wants a login: write it in the URL"
        with pytest.raises(StoreUnavailable, match=said) as caught:
            ask(lambda on: count(link, on))
        assert "secret" not in str(caught.value)
        assert str(caught.value).startswith(f"Redis at 127.0.0.1:{server.port} ")
        link.close()


@both
def test_a_database_that_is_not_there(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url.removesuffix("0") + "999")
    said = r"refused the connection: ERR DB index is out of range: it has no such database"
    with pytest.raises(StoreUnavailable, match=said):
        ask(lambda on: count(link, on))
    link.close()


@both
def test_a_user_that_may_not_run_scripts(ask: Ask) -> None:
    with running() as server:
        server.ask("ACL", "SETUSER", "poor", "on", ">secret", "~*", "+get")
        link = open_link(server.url.replace("redis://", "redis://poor:secret@"))
        with pytest.raises(StoreUnavailable, match=r"an error: NOPERM .*: allow this user to run"):
            ask(lambda on: count(link, on))
        link.close()


@both
def test_a_server_that_repeats_the_password(ask: Ask) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            link, _ = listener.accept()
            link.recv(4096)
            link.sendall(b"-ERR unknown command 'AUTH', with args beginning with: 'secret'\r\n")
            link.recv(4096)
            link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        link = open_link(f"redis://:secret@127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match=r"beginning with: '\*\*\*'"):
            ask(lambda on: count(link, on))
        link.close()
        thread.join(5)


@both
def test_a_socket_in_the_file_system(ask: Ask) -> None:
    with running("--unixsocket", "./s") as server:
        link = open_link(f"unix://{server.folder}/s?db=2&client_name=limits")

        async def seen(on: Runtime) -> str:
            await count(link, on)
            return server.ask("CLIENT", "LIST")

        assert re.search(r"name=limits .* db=2 ", ask(seen))
        link.close()


@both
def test_a_long_answer_comes_in_pieces(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url + "?timeout=2s")
    script = "return string.rep('x', tonumber(ARGV[1]))"
    assert len(ask(lambda on: link.run(script, (), (300_000,), on))) == 300_000
    link.close()


@both
def test_no_one_listens(ask: Ask) -> None:
    link = open_link("redis://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match=r"Redis at 127\.0\.0\.1:1: .*refused|Connect call"):
        ask(lambda on: count(link, on))


@both
def test_a_server_that_is_none(ask: Ask) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            for _ in range(2):
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                link.recv(4096)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        link = open_link(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="it sent what is no answer"):
            ask(lambda on: count(link, on))
        link.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:secret@host:port/0",
        "rediss://host?ssl_cert_reqs=sometimes",
        "redis://:se/cret@host:99999999",
        "redis://" + "h" * 70 + ".example",
    ],
)
def test_a_url_that_says_nothing_useful(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL such as 'redis://") as caught:
        open_link(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("timeout", ["0", "-1s", "soon"])
def test_a_timeout_that_is_none(timeout: str) -> None:
    with pytest.raises(ConfigError, match=r"^timeout: expected a duration above zero .* found"):
        open_link(f"redis://u:secret@h/0?timeout={timeout}")


@both
def test_valkey_is_another_name(redis: RedisServer, ask: Ask) -> None:
    link = open_link(redis.url.replace("redis://", "valkey://") + "?timeout=100ms")
    assert ask(lambda on: count(link, on)) == 1
    link.close()
    gone = open_link("valkey://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match=r"^Valkey at 127\.0\.0\.1:1: "):
        ask(lambda on: count(gone, on))


def test_a_scheme_that_no_one_opens() -> None:
    with pytest.raises(ConfigError, match="one of the links redis, rediss, unix, valkey"):
        open_link("memcached://localhost")
    with pytest.raises(ConfigError, match="expected a URL such as 'redis://localhost:6379', found"):
        open_link("localhost:6379")

"""A circuit breaker's store on a real Redis: the script, processes, and a Redis that dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.servers import redis_server
from tests.servers.redis_server import RedisServer

from escala import CircuitBreaker
from escala.errors import CircuitOpen, StoreUnavailable
from escala.kernel.events import subscribe
from escala.kernel.runtime import LoopRuntime, ThreadRuntime, drive
from escala.resilience import BreakerState, BreakerStoreChanged
from escala.resilience.breaker_store import BreakerStore, read
from escala.resilience.pure.shared_breaker import Answer, Errand, Question

shared_redis, redis, own_redis = (
    redis_server.shared_redis,
    redis_server.redis,
    redis_server.own_redis,
)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
PROCESS = Path(__file__).with_name("breaker_process.py")
COOLDOWN, CAP, LEASE, MORE = 0.25, 0.4, 0.6, 0.01
PATIENT = "?timeout=5s"  # a machine under load is no dead Redis

Ask: TypeAlias = Callable[..., Answer]


def asking(store: BreakerStore, colour: str, loop: asyncio.Runner) -> Ask:
    def ask(
        errand: Errand, lease: str = "", *, opened: bool = False, back: tuple[str, ...] = ()
    ) -> Answer:
        question = Question(1, errand, opened, back)
        words = (question, "host", lease, f"because of {lease or errand}")
        if colour == "tasks":
            return loop.run(store.answer(*words, LoopRuntime()))
        return drive(store.answer(*words, ThreadRuntime()))

    return ask


@pytest.fixture(params=["threads", "tasks"])
def colour(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def ask(redis: RedisServer, colour: str) -> Any:
    options = CircuitBreaker(
        cooldown=COOLDOWN, cooldown_cap=CAP, probes=2, probe_lease=LEASE
    ).options
    store = BreakerStore(redis.url + PATIENT, options, "shop")
    with asyncio.Runner() as loop:
        yield asking(store, colour, loop)
        store.close()


def test_what_it_answers(ask: Ask) -> None:
    assert ask("look") == Answer(known=False, state=CLOSED, left=0.0, granted=False, reason="")
    opened = ask("open")
    assert (opened.known, opened.state, opened.reason) == (True, OPEN, "because of open")
    assert 0 < opened.left <= COOLDOWN
    assert ask("open").reason == "because of open", "the first one counts"
    early = ask("probe", "a")
    assert (early.state, early.granted) == (OPEN, False)
    time.sleep(COOLDOWN + MORE)
    assert ask("look").left == 0.0
    for lease in ("a", "b"):
        probe = ask("probe", lease)
        assert (probe.state, probe.granted, probe.left) == (HALF_OPEN, True, 0.0)
    third = ask("probe", "c")
    assert (third.granted, third.reason) == (False, "the cooldown is over")
    assert 0 < third.left <= COOLDOWN, "a cooldown, since the leases are longer"
    assert ask("passed", "b").state is HALF_OPEN
    assert ask("probe", "c").granted is False, "one out and one passed are two"
    closed = ask("passed", "a")
    assert (closed.state, closed.reason) == (CLOSED, "2 of 2 probes passed")
    assert ask("probe", "d").granted is False


def test_probes_that_fail_make_the_cooldown_longer(ask: Ask) -> None:
    ask("open")
    for least, most in ((0.0, COOLDOWN), (COOLDOWN, CAP), (COOLDOWN, CAP)):
        left = ask("look").left
        assert least < left <= most
        time.sleep(left + MORE)
        assert ask("probe", "a").granted
        assert ask("failed", "a").reason == "because of a"
    time.sleep(CAP + MORE)
    for lease in ("a", "b"):
        assert ask("probe", lease).granted
        ask("passed", lease)
    assert 0 < ask("open").left <= COOLDOWN, "the first one again"


def test_an_end_that_comes_late_changes_nothing(ask: Ask) -> None:
    ask("open")
    time.sleep(COOLDOWN + MORE)
    assert ask("probe", "late").granted
    time.sleep(LEASE + MORE)
    assert [ask("probe", lease).granted for lease in ("a", "b", "c")] == [True, True, False]
    assert ask("failed", "late").state is HALF_OPEN
    assert ask("passed", "late").state is HALF_OPEN
    ask("passed", "a")
    assert ask("passed", "a").state is HALF_OPEN, "and no end counts twice"
    assert ask("passed", "b").state is CLOSED


def test_what_is_given_back_is_given_out_again(ask: Ask) -> None:
    ask("open")
    time.sleep(COOLDOWN + MORE)
    assert [ask("probe", lease).granted for lease in ("a", "b", "c")] == [True, True, False]
    ask("look", back=("a", "unknown"))
    assert ask("probe", "c").granted
    assert ask("probe", "d", back=("b",)).granted


@pytest.mark.parametrize("opened", [True, False])
def test_a_store_that_does_not_know_takes_a_probers_word(ask: Ask, opened: bool) -> None:
    assert ask("probe", "a", opened=opened).granted
    ask("passed", "a")
    ask("probe", "b")
    assert ask("passed", "b").state is CLOSED
    assert ask("probe", "c", opened=opened).granted is opened, "now it knows that it is closed"


def test_nothing_is_kept_for_ever_and_all_of_it_in_one_slot(redis: RedisServer, ask: Ask) -> None:
    ask("open")
    time.sleep(COOLDOWN + MORE)
    ask("probe", "a")
    for key in ("escala:breaker:{shop}:host", "escala:breaker:{shop}:host:probes"):
        left = int(redis.ask("PTTL", key)[1:])
        assert 3_600_000 < left <= 3_601_250


def test_a_clock_that_is_set_back_holds_no_one_up(redis: RedisServer, ask: Ask) -> None:
    hour = str(int(time.time() * 1000) + 3_600_000)
    ask("open")
    redis.ask("HSET", "escala:breaker:{shop}:host", "ends", hour)
    assert 0 < ask("look").left <= COOLDOWN
    time.sleep(COOLDOWN + MORE)
    for lease in ("a", "b"):
        assert ask("probe", lease).granted
        redis.ask("ZADD", "escala:breaker:{shop}:host:probes", hour, lease)
    assert ask("probe", "c").granted


def test_what_others_wrote_under_its_key_makes_it_unavailable(redis: RedisServer, ask: Ask) -> None:
    redis.ask("SET", "escala:breaker:{shop}:host", "text")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        ask("look")


@pytest.mark.parametrize("found", [None, 7, [1, b"closed", b"0", 0], [1, b"ajar", b"0", 0, b""]])
def test_an_answer_that_is_none(found: Any) -> None:
    with pytest.raises(StoreUnavailable, match="an answer that is none"):
        read(found)


@pytest.mark.parametrize("probes", [1, 3])
def test_the_callers_of_four_processes_meet_so_many_probes(redis: RedisServer, probes: int) -> None:
    url = redis.url + PATIENT
    options: Any = {"consecutive": 1, "cooldown": "300ms", "probes": probes, "name": "all"}
    first = CircuitBreaker(store=url, **options)
    processes: list[subprocess.Popen[str]] = []
    try:
        with pytest.raises(ZeroDivisionError):
            first.call(divmod, 1, 0)
        redis.ask("HSET", "escala:breaker:{all}:", "cooldown", "60000")  # until all are ready
        ends = str(int(time.time() * 1000) + 60_000)
        redis.ask("HSET", "escala:breaker:{all}:", "ends", ends)
        for colour in ("threads", "tasks") * 2:
            words = [sys.executable, str(PROCESS), url, colour, "50", str(probes)]
            processes.append(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        redis.ask("HSET", "escala:breaker:{all}:", "ends", "0", "cooldown", "300")
        time.sleep(0.3)  # what they wait for begins with their next look
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        answers = [each.communicate(timeout=20)[0].split() for each in processes]
    finally:
        for each in processes:
            each.kill()
            each.wait()
        first.close()
    entered, refused = (sum(int(answer[at]) for answer in answers) for at in (0, 1))
    assert (entered, refused) == (probes, 200 - probes)


def calls(breaker: CircuitBreaker, colour: str, loop: asyncio.Runner) -> Callable[[Any], Any]:
    async def afn(fn: Callable[[], Any]) -> Any:
        return fn()

    if colour == "tasks":
        return lambda fn: loop.run(breaker.acall(afn, fn))
    return breaker.call


def fail() -> None:
    raise ConnectionError


def test_alone_while_redis_is_dead_and_together_when_it_is_back(
    own_redis: RedisServer, colour: str
) -> None:
    options: Any = {"consecutive": 1, "cooldown": "200ms", "refresh": "50ms", "name": "shop"}
    one, other = (CircuitBreaker(store=own_redis.url + PATIENT, **options) for _ in range(2))
    with asyncio.Runner() as loop:
        call, also = calls(one, colour, loop), calls(other, colour, loop)
        assert call(int) == also(int) == 0
        own_redis.kill()
        time.sleep(0.06)
        assert call(int) == also(int) == 0
        assert one.snapshot()["store_away"] == 1.0
        with pytest.raises(ConnectionError):
            call(fail)
        with pytest.raises(CircuitOpen):
            call(int)
        assert also(int) == 0
        time.sleep(0.21)
        assert call(int) == 0
        with pytest.raises(ConnectionError):
            call(fail)
        own_redis.start()
        time.sleep(0.06)
        for again in (call, also):
            with pytest.raises(CircuitOpen):
                again(int)
        assert one.snapshot()["store_away"] == 0.0
        time.sleep(0.21)
        assert also(int) == call(int) == 0
        time.sleep(0.06)
        assert also(int) == call(int) == 0
        assert one.state is other.state is CLOSED
        one.close()
        other.close()


def test_a_redis_that_hangs_costs_one_call_its_timeout(own_redis: RedisServer, colour: str) -> None:
    breaker = CircuitBreaker(
        store=f"{own_redis.url}?timeout=100ms", refresh="10s", consecutive=1, name="shop"
    )
    with asyncio.Runner() as loop:
        call = calls(breaker, colour, loop)
        own_redis.pause()
        try:
            began = time.monotonic()
            assert call(int) == 0
            assert 0.09 < time.monotonic() - began < 0.3
            began = time.monotonic()
            for _ in range(20):
                assert call(int) == 0
            with pytest.raises(ConnectionError):
                call(fail)
            assert time.monotonic() - began < 0.09
            assert breaker.state is OPEN
        finally:
            own_redis.resume()
            breaker.close()


def test_a_redis_that_refuses_the_login_is_told_with_the_reason(colour: str) -> None:
    told: list[BreakerStoreChanged] = []
    stop = subscribe(BreakerStoreChanged, told.append)
    with redis_server.running("--requirepass", "right") as server, asyncio.Runner() as loop:
        url = server.url.replace("redis://", "redis://:secret@")
        breaker = CircuitBreaker(store=url + PATIENT, refresh="10ms", name="shop")
        call = calls(breaker, colour, loop)
        assert call(int) == 0
        time.sleep(0.02)
        assert call(int) == 0
        breaker.close()
    stop()
    assert [(each.name, each.away) for each in told] == [("shop", True)]
    assert "WRONGPASS" in told[0].reason
    assert told[0].reason.endswith(": see the user and the password in the URL")
    assert "secret" not in told[0].reason

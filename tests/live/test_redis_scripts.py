"""The scripts decide as the machines in memory do, by a clock that the test moves."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.contracts.ledger_contract import ALL, plan
from tests.servers.redis_server import RedisServer, own_redis, redis, shared_redis

from escala import TokenBucket
from escala.errors import StoreUnavailable
from escala.kernel.events import subscribe
from escala.kernel.runtime import colours, drive
from escala.limiting import Decision, Plan
from escala.limiting.events import LimiterStoreChanged
from escala.limiting.pure.algorithms import machine_of
from escala.limiting.redis_ledger import RedisLedger

__all__ = ["own_redis", "redis", "shared_redis"]

pytestmark = pytest.mark.live

LIMITS = ["5/s", "3/s; 20/10s", "7/700ms", "10/10s; 2/s; 50/min"]
START = 1_800_000_000


class Clocked:
    """A ledger whose script reads the clock from a key."""

    def __init__(self, server: RedisServer, of: Plan) -> None:
        self.server, self.ledger = server, RedisLedger(server.url + "?timeout=2s", of)
        assert "redis.call('TIME')" in self.ledger._script
        self.ledger._script = self.ledger._script.replace(
            "redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)"
        )

    def at(self, now: float) -> None:
        micros = round(now * 1_000_000)
        self.server.ask("DEL", "clock")
        seconds, rest = divmod(micros, 1_000_000)
        self.server.ask("RPUSH", "clock", str(START + seconds), str(rest))

    def take(self, cost: int, wait: float = 0.0) -> tuple[Decision, float]:
        found: tuple[Decision, float] = drive(self.ledger.take("ann", cost, colours.thread, wait))
        return found

    def peek(self) -> Decision:
        return drive(self.ledger.peek("ann", colours.thread))

    def refund(self, cost: int) -> None:
        drive(self.ledger.refund("ann", cost, colours.thread))

    def key(self) -> str:
        (key,) = [word for word in self.server.ask("KEYS", "esc:*").split() if "esc:" in word]
        return key


def same(ours: Decision, theirs: Decision) -> None:
    assert ours.allowed == theirs.allowed
    assert ours.remaining == theirs.remaining
    assert ours.limit == theirs.limit
    assert ours.retry_after == pytest.approx(theirs.retry_after, abs=2.1e-6)
    assert [left for left, _ in ours.standings] == [left for left, _ in theirs.standings]
    for (_, reset), (_, other) in zip(ours.standings, theirs.standings, strict=True):
        assert reset == pytest.approx(other, abs=2.1e-6)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("algorithm", ALL)
def test_a_script_decides_as_the_machine_does(
    redis: RedisServer, algorithm: str, limit: str
) -> None:
    of, rng = plan(algorithm, limit), random.Random(f"{algorithm} {limit}")
    clocked, machine = Clocked(redis, of), machine_of(of, 10)
    # The script's time begins with 2025; the machine's windows must be the same ones.
    now = float(START - 1_735_689_600)
    for _ in range(150):
        # Off the grid on which both would round a moment that is exactly due differently.
        now += rng.choice([0.0, 0.010003, 0.130007, 0.710011, 3.000017])
        now = round(now, 6)
        clocked.at(now - (START - 1_735_689_600))
        step = rng.random()
        if step < 0.75:
            cost = rng.choice([1, 1, 2, 3]) if of.most >= 3 else 1
            ours, sleep = clocked.take(cost)
            same(ours, machine.decide("ann", cost, now))
            assert sleep == 0.0
        elif step < 0.9:
            ours = clocked.peek()
            wait = machine.wait("ann", 1, now)
            same(ours, machine.refusal("ann", 1, now) if wait else machine.granted("ann", now))
        else:
            clocked.refund(1)
            machine.give_back("ann", 1, now)
    clocked.ledger.close()


def test_places_ahead_come_one_after_the_other(redis: RedisServer) -> None:
    clocked = Clocked(redis, plan("token_bucket", "4/s", burst=1))
    clocked.at(10)
    seen = [clocked.take(1, 0.6) for _ in range(5)]
    assert [decision.allowed for decision, _ in seen] == [True, True, True, False, False]
    assert [sleep for _, sleep in seen] == pytest.approx([0, 0.25, 0.5, 0, 0], abs=1e-5)
    assert seen[3][0].retry_after == pytest.approx(0.75, abs=1e-5)
    assert [decision.remaining for decision, _ in seen] == [0] * 5
    clocked.refund(1)
    assert clocked.take(1, 0.6)[1] == pytest.approx(0.5, abs=1e-5)
    clocked.ledger.close()


def test_a_clock_that_was_set_back_locks_no_one_out(redis: RedisServer) -> None:
    """Each waits about as long as it would have at most, and not an hour."""
    for algorithm in ALL:
        redis.ask("FLUSHALL")
        clocked = Clocked(redis, plan(algorithm, "2/s"))
        clocked.at(7200)
        assert [clocked.take(1)[0].allowed for _ in range(3)] == [True, True, False]
        clocked.at(3600)
        refused, _ = clocked.take(1)
        assert refused.allowed is False, algorithm
        assert refused.retry_after <= 2.0, algorithm
        clocked.at(3602.001)
        assert clocked.take(1)[0].allowed, algorithm
        clocked.ledger.close()


@pytest.mark.parametrize("algorithm", ALL)
def test_every_key_ends_by_itself(redis: RedisServer, algorithm: str) -> None:
    ledger = RedisLedger(redis.url, plan(algorithm, "5/s; 20/min"))
    drive(ledger.take("ann", 2, colours.thread))
    keys = [word for word in redis.ask("KEYS", "*").split() if word.startswith("esc:")]
    assert len(keys) == (2 if algorithm == "sliding_window_log" else 1)
    for key in keys:
        assert 0 < int(redis.ask("PTTL", key)[1:]) <= 120_001
    ledger.close()


@pytest.mark.parametrize("algorithm", ALL)
def test_a_refusal_writes_nothing(redis: RedisServer, algorithm: str) -> None:
    ledger = RedisLedger(redis.url, plan(algorithm, "2/h"))
    for _ in range(2):
        drive(ledger.take("ann", 1, colours.thread))
    redis.ask("CONFIG", "RESETSTAT")
    for _ in range(5):
        drive(ledger.take("ann", 1, colours.thread))
    drive(ledger.peek("ann", colours.thread))
    stats = redis.ask("INFO", "commandstats")
    assert "cmdstat_evalsha:calls=6" in stats
    for verb in ("set", "rpush", "ltrim", "pexpire", "del"):
        assert f"cmdstat_{verb}:" not in stats
    ledger.close()


def test_a_key_takes_at_most_64_bytes_whatever_it_is_called(redis: RedisServer) -> None:
    for key in ("a", "x" * 99):
        redis.ask("FLUSHALL")
        of = plan("token_bucket", "1000000/h", name="a limiter with quite a long name")
        ledger = RedisLedger(redis.url, of)
        for _ in range(3):
            drive(ledger.take(key, 1, colours.thread))
        (name,) = [word for word in redis.ask("KEYS", "*").split() if "esc:" in word]
        assert int(redis.ask("MEMORY", "USAGE", name)[1:]) <= 64
        ledger.close()


def test_a_log_holds_no_more_than_it_counts_and_what_it_keeps_in_a_cluster(
    redis: RedisServer,
) -> None:
    clocked = Clocked(redis, plan("sliding_window_log", "3/s; 5/10s"))
    for step in range(40):
        clocked.at(step * 0.4)
        clocked.take(1)
        keys = [word for word in redis.ask("KEYS", "esc:*").split() if "esc:" in word]
        for key in keys:
            assert int(redis.ask("LLEN", key)[1:]) <= {"0": 3, "1": 5}[key[-1]]
        assert len({key[key.index("{") : key.index("}")] for key in keys}) == 1, "one slot"
    clocked.ledger.close()


def test_what_someone_else_wrote_is_an_error_and_stays(redis: RedisServer) -> None:
    of = plan("token_bucket", "2/h")
    ledger = RedisLedger(redis.url, of)
    (name,) = ledger._plan.names("ann")
    redis.ask("LPUSH", name, "theirs")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        drive(ledger.take("ann", 1, colours.thread))
    redis.ask("DEL", name)
    redis.ask("SET", name, "theirs")
    with pytest.raises(StoreUnavailable, match="someone else wrote to esc:"):
        drive(ledger.take("ann", 1, colours.thread))
    assert "theirs" in redis.ask("GET", name)
    ledger.close()


FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "NOPERM": (
        ("ACL", "SETUSER", "default", "-evalsha", "-eval"),
        ("ACL", "SETUSER", "default", "+@all"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_refuses_is_away(own_redis: RedisServer, fault: str) -> None:
    limiter = TokenBucket("2/h", store=own_redis.url, name=f"limit {fault}")
    assert not limiter.acquire("before").away
    begin, end = FAULTS[fault]
    assert own_redis.ask(*begin) == "+OK\r\n"
    told: list[LimiterStoreChanged] = []
    stop = subscribe(LimiterStoreChanged, told.append)
    seen: list[Any] = [limiter.acquire("ann") for _ in range(4)]
    stop()
    assert [event.away for event in told] == [True]
    assert fault in told[0].reason
    assert [each.away for each in seen] == [True] * 4
    assert [each.allowed for each in seen] == [True, True, False, False]
    assert limiter.snapshot() == {"store_away": 1.0, "without_store": 4.0}
    assert own_redis.ask(*end) == "+OK\r\n"
    limiter.close()

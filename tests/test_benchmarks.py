from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import (
    balancing,
    byte_server,
    caching,
    caching_hit_ratio,
    caching_peers,
    calls,
    gateway,
    hashing,
    limiting,
    limiting_peers,
    load,
    proxies,
    resilience,
    resilience_peers,
    run,
    target,
)
from benchmarks.report import BenchmarkError, Goal, Report, merge, table, write

from escala import RoundRobin

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = """\
Running 4s test @ http://127.0.0.1:1/item
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.85ms  707.31us  16.72ms   91.50%
    Req/Sec    35.53k     3.10k   41.03k    77.50%
  Latency Distribution
     50%  850.00us
     75%    1.98ms
     90%    2.27ms
     99%    1.02s
  141500 requests in 4.00s, 164.85MB read
Requests/sec:  35343.17
Transfer/sec:     41.18MB
"""
FAULTY = CLEAN.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
    "  Non-2xx or 3xx responses: 90\nRequests/sec",
)


def window(requests: int, cpu_s: float) -> gateway.Window:
    seen = load.Load(
        requests=requests, per_second=requests / 4, p50_ms=1, p99_ms=5, errors=0, in_flight=64
    )
    return gateway.Window(load=seen, cpu_s=cpu_s, others=0.1)


def test_wrk_report_is_read_in_milliseconds() -> None:
    seen = load.parse(CLEAN)
    assert (seen.requests, seen.per_second, seen.errors) == (141500, 35343.17, 0)
    assert seen.p50_ms == pytest.approx(0.85)
    assert seen.p99_ms == pytest.approx(1020)


def test_connections_that_get_no_answers_spoil_a_window() -> None:
    seen = load.parse(CLEAN)
    assert seen.in_flight == pytest.approx(65.4, abs=0.1)
    assert not gateway.faults(seen, same_processes=True)
    assert gateway.faults(seen, same_processes=False) == "a process that died"
    starved = load.parse(CLEAN.replace("Latency     1.85ms", "Latency   100.00us"))
    assert gateway.faults(starved, same_processes=True) == (
        "answers on about 4 of 64 connections only"
    )
    assert gateway.faults(load.parse(FAULTY), same_processes=True) == "100 errors"


def test_every_kind_of_wrk_error_is_counted() -> None:
    assert load.parse(FAULTY).errors == 100


def test_wrk_report_without_figures_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="no figures"):
        load.parse("unable to connect")


def test_rounds_move_the_order_on_and_lose_nobody() -> None:
    names = ["a", "b", "c"]
    orders = [calls.rotated(names, by) for by in range(4)]
    assert [order[0] for order in orders] == ["a", "b", "c", "a"]
    assert all(sorted(order) == names for order in orders)
    assert calls.rotated([], 3) == []


def test_ratios_are_taken_inside_each_round() -> None:
    report = Report()
    gateway.summarise(
        {
            # The third round was twice as slow for both: the ratio does not see it.
            "escala": {0: window(100, 1), 1: window(110, 1), 2: window(50, 1)},
            "envoy": {0: window(50, 1), 1: window(55, 1), 2: window(25, 1)},
            "nginx": {1: window(220, 1)},
        },
        report,
    )
    assert report.metrics["gateway.escala.req_per_cpu_s"] == 100
    assert report.metrics["gateway.escala.req_per_cpu_s_min"] == 50
    assert report.metrics["gateway.escala.req_per_cpu_s_max"] == 110
    assert report.metrics["gateway.ratio_to_envoy"] == 2
    assert report.metrics["gateway.ratio_to_envoy_max"] == 2
    assert report.metrics["gateway.ratio_to_nginx"] == 0.5


def test_an_absent_peer_leaves_no_figure() -> None:
    report = Report()
    gateway.summarise({"escala": {0: window(100, 2)}}, report)
    assert report.metrics["gateway.escala.req_per_cpu_s"] == 50
    assert not [name for name in report.metrics if "envoy" in name or "ratio" in name]


def test_a_window_without_cpu_time_is_no_infinite_figure() -> None:
    assert window(100, 0).per_cpu_s == 0


def test_merge_refuses_a_metric_measured_twice() -> None:
    assert merge([{"a": 1}, {"b": 2}]) == {"a": 1, "b": 2}
    with pytest.raises(BenchmarkError, match=r"two benchmarks: a"):
        merge([{"a": 1}, {"a": 2}])


def test_results_are_one_flat_object_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.json"
    write(path, {"b.us": 1.23456789, "a": 3})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 3, "b.us": 1.23457}
    with pytest.raises(BenchmarkError, match="nan is not finite"):
        write(path, {"a": math.nan})
    for other in (True, None, "3", {"nested": 1}):
        with pytest.raises(BenchmarkError, match="is not a number"):
            write(path, {"a": other})


def test_goals_know_both_directions() -> None:
    assert Goal(least=12_000).met(12_000)
    assert not Goal(least=12_000).met(11_999)
    assert not Goal(most=8).met(8.01)
    assert str(Goal(least=12_000)) == ">= 12,000"
    assert str(Goal(most=0.25)) == "<= 0.250"


def test_table_shows_range_goal_and_what_was_not_measured() -> None:
    text = table(
        {"a.us": 9, "a.us_min": 7.5, "a.us_max": 12, "b": 20_000, "peak_max": 5},
        {"a.us": Goal(most=8), "b": Goal(least=12_000), "gone": Goal(most=1)},
    )
    rows = {line.split()[0]: line for line in text.splitlines()[2:]}
    assert rows.keys() == {"a.us", "b", "peak_max", "gone"}
    assert rows["a.us"].split() == ["a.us", "9", "7.50", "12", "<=", "8", "MISSED"]
    assert rows["b"].endswith("met")
    assert rows["gone"].endswith("not measured")


def test_repeats_become_median_and_range() -> None:
    report = Report()
    report.spread("x.us", [3, 1, 2])
    report.spread("y.us", [])
    assert report.metrics == {"x.us": 2, "x.us_min": 1, "x.us_max": 3}


def test_runner_leaves_the_file_and_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(*, quick: bool) -> Report:
        return Report(metrics={"one.us": 1, "one.quick": float(quick)}, absent={"peer": "not here"})

    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "load", lambda _: (measure, {"one.us": Goal(most=2)}))
    assert run.run(["one"], quick=True) == 0
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))["one.us"] == 1
    out = capsys.readouterr().out
    assert "met" in out
    assert "! one: peer is absent: not here" in out


def test_runner_goes_on_after_a_benchmark_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(*, quick: bool) -> Report:
        raise BenchmarkError(f"nothing to run on (quick: {quick})")

    def works(*, quick: bool) -> Report:
        return Report(metrics={"two": 2.0 + quick})

    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "load", lambda name: ({"one": measure, "two": works}[name], {}))
    assert run.run(["one", "two"], quick=False) == 1
    out = capsys.readouterr().out
    assert "! one: nothing to run on" in out
    assert [path.name for path in tmp_path.iterdir()] == ["two.json"]


def test_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(["gatway"])
    assert stop.value.code == 2
    assert (
        "there are kernel, resilience, limiting, caching, hashing, balancing, databases, gateway, "
        "endurance" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", sorted(run.REGISTRY))
def test_every_registered_benchmark_loads(name: str) -> None:
    measure, goals = run.load(name)
    assert callable(measure)
    assert all(isinstance(goal, Goal) for goal in goals.values())


def test_pattern_check_sees_lost_and_changed_bytes() -> None:
    size = 3 * len(byte_server.BLOCK) + 17
    data = b"".join(byte_server.pattern(at, min(1000, size - at)) for at in range(0, size, 1000))
    whole, pieces, lost, changed = (byte_server.Check() for _ in range(4))
    whole.feed(data)
    for at in range(0, size, 77_777):
        pieces.feed(data[at : at + 77_777])
    assert (whole.right, whole.seen) == (pieces.right, pieces.seen) == (True, size)
    lost.feed(data[:500_000] + data[500_001:])
    changed.feed(data[:-1] + bytes([data[-1] ^ 1]))
    assert not lost.right
    assert not changed.right


def test_peers_are_configured_for_the_same_task() -> None:
    ports = proxies.Ports(listen=1001, admin=1002, upstream=1003)
    assert len(byte_server.PAGE) == 1024
    envoy = json.dumps(proxies.envoy_bootstrap(ports))
    for armed in ("LocalRateLimit", '"timeout": "15s"', '"num_retries": 2', "thresholds"):
        assert armed in envoy
    ours = proxies.stack(ports, deadline="15s")
    for armed in ("rate_limit", "deadline: 15s", "attempts: 3", "circuit_breaker", "workers: 1"):
        assert armed in ours


def test_case_count_fills_the_time_asked_for() -> None:
    case = calls.Case("linear", lambda count: count * 1e-6)
    assert calls.fill(case, 0.15) == pytest.approx(150_000)


def test_turns_time_every_case_in_every_repeat_and_check_it() -> None:
    checked: list[str] = []

    def steady(name: str, us: float) -> calls.Case:
        return calls.Case(name, lambda count: count * us * 1e-6, lambda: checked.append(name))

    cases = [steady("a", 1), steady("b", 4)]
    figures = calls.take_turns(cases, quick=True)
    assert figures["a"] == pytest.approx([1.0] * calls.QUICK_REPEATS)
    assert figures["b"] == pytest.approx([4.0] * calls.QUICK_REPEATS)
    assert checked == ["a", "b"]
    report = Report()
    calls.tell(figures, report)
    assert report.metrics["b.us"] == pytest.approx(4)


@pytest.mark.parametrize("policy", sorted(target.CHECKS))
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_policy_that_does_nothing_is_noticed(
    policy: str, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resilience_peers, "LIMIT", 0.02)
    with asyncio.Runner() as loop:
        case = target.Target(colour).case("nothing", lambda fn: fn, policy, loop)
        assert case.run(10) >= 0
        with pytest.raises((BenchmarkError, ConnectionError)):
            case.check()


@pytest.mark.live  # a pause before a retry is drawn by lot, and may be a long one
@pytest.mark.parametrize("policy", sorted(resilience.policies().keys() - resilience.TIMED))
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_policy_that_works_passes_its_check(policy: str, colour: str) -> None:
    with asyncio.Runner() as loop:
        make = resilience.policies()[policy]
        case = target.Target(colour).case("works", make(), policy, loop)
        assert case.run(10) >= 0
        case.check()


@pytest.mark.parametrize("peer", caching_peers.PEERS, ids=lambda peer: peer.package)
def test_every_peers_cache_passes_its_check(peer: caching_peers.Peer) -> None:
    with asyncio.Runner() as loop:
        for case in (*caching._peer(peer, 200, loop), *caching._peer_memo(peer, loop)):
            assert case.run(10) >= 0
            case.check()


def test_a_cache_that_keeps_nothing_is_noticed() -> None:
    def forgetful(size: int) -> tuple[caching_peers.Get, caching_peers.Put]:
        return (lambda key: None), (lambda key, value: None)

    lax = caching_peers.Peer("lax", forgetful, lambda size, fn: fn)
    with asyncio.Runner() as loop:
        case, *_ = caching._peer(lax, 200, loop)
        with pytest.raises(BenchmarkError, match="lax gave None for 'item:"):
            case.check()
        (memo,) = caching._peer_memo(lax, loop)
        with pytest.raises(BenchmarkError, match="asked 3 times, not once"):
            memo.check()


def test_our_caches_pass_their_checks() -> None:
    with asyncio.Runner() as loop:
        for case in (*caching._hits(200, loop), caching._evict(200), *caching._memos(loop)):
            assert case.run(200) >= 0
            case.check()


@pytest.mark.parametrize("name", [*hashing.lookups(), *hashing.peers()])
def test_every_look_up_spreads_keys_over_its_nodes(name: str) -> None:
    case = hashing._case(name, {**hashing.lookups(), **hashing.peers()}[name])
    assert case.run(100) >= 0
    case.check()


def test_a_look_up_that_knows_one_node_only_is_noticed() -> None:
    case = hashing._case("lazy", lambda _key: "a")
    with pytest.raises(BenchmarkError, match="lazy does not spread keys over 10 nodes"):
        case.check()


@pytest.mark.parametrize("kind", balancing.KINDS)
def test_every_balancer_spreads_calls_by_weight(kind: str) -> None:
    case = balancing.case(kind, 5)
    assert case.run(100) >= 0
    case.check()


def test_an_algorithm_that_forgets_the_weights_is_noticed() -> None:
    check = balancing._check("odd", _First(), balancing._members(3))
    with pytest.raises(BenchmarkError, match="odd gives a target of weight"):
        check()


class _First(RoundRobin):
    def over(self, members: Any, draw: Any) -> Any:
        return super().over(members[:1], draw)


def test_hit_ratios_are_of_the_traces_they_are_said_to_be_of() -> None:
    assert caching_hit_ratio.synthetic("loop", 1300)[1199:1202] == [1199, 0, 1]
    assert caching_hit_ratio.lru([1, 2, 1, 3, 2, 1], 2) == pytest.approx(100 / 6)
    assert caching_hit_ratio.s3_fifo([1, 2, 1, 2], 2) == 50
    scanned = caching_hit_ratio.synthetic("zipf_and_scan", 1000)
    assert scanned[::2] == caching_hit_ratio.synthetic("zipf", 1000)[:500]
    assert len(set(scanned[1::2])) == 500
    assert list(caching_hit_ratio._pages("7 3 0 1")) == [7, 8, 9]


def test_a_trace_that_is_not_there_is_said_to_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(caching_hit_ratio.ELSEWHERE, str(tmp_path / "none.zst"))
    monkeypatch.setattr(caching_hit_ratio, "SYNTHETIC", ())
    report = Report()
    caching_hit_ratio.measure(report, quick=True)
    assert "none.zst" in report.absent["the OLTP trace"]
    assert report.metrics == {}


def _spelled(peer: resilience_peers.Peer | limiting_peers.Peer) -> str:
    return f"{peer.package}-{peer.policy}"


@pytest.mark.parametrize("peer", resilience_peers.PEERS, ids=_spelled)
def test_every_peers_policy_passes_its_check(
    peer: resilience_peers.Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resilience_peers, "LIMIT", 0.02)
    with asyncio.Runner() as loop:
        for colour in peer.colours:
            made = target.Target(colour)
            case = made.case(peer.package, peer.make(colour), peer.policy, loop)
            assert case.run(10) >= 0
            case.check()


@pytest.mark.parametrize(
    "peer",
    [limiting_peers.OURS, limiting_peers.TWO_LIMITS, *limiting_peers.IN_MEMORY],
    ids=_spelled,
)
def test_every_limiter_in_memory_passes_its_check(peer: limiting_peers.Peer) -> None:
    with asyncio.Runner() as loop:
        for colour in peer.colours:
            case = limiting._case(peer, colour, loop)
            assert case.run(10) >= 0
            case.check()


def test_a_limiter_that_lets_everything_through_is_noticed() -> None:
    lax = limiting_peers.Peer("lax", "none", lambda _colour, _url, _limit: lambda _key: True)
    with asyncio.Runner() as loop:
        case = limiting._case(lax, "sync", loop)
        with pytest.raises(BenchmarkError, match="let 15 of 15 calls through, not 10"):
            case.check()


def test_fastest_peer_is_found_in_each_repeat() -> None:
    figures = {"mine": [1.0, 2.0], "x": [2.0, 1.0], "y": [4.0, 8.0]}
    assert calls.to_fastest("mine", figures, ["x", "y"]) == [0.5, 2.0]

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.processes import (
    Answer,
    Child,
    Gateway,
    ask,
    children,
    connect,
    gateway,
    service,
    stack,
    until_closed,
)

pytestmark = pytest.mark.live

RETRY = [{"deadline": "3s"}, {"retry": {"attempts": 3, "budget": "100%"}}, {"timeout": "1s"}]
HEALTH = {"path": "/health", "interval": "100ms", "timeout": "100ms", "fall": 2, "rise": 2}


@pytest.fixture
def started() -> Iterator[list[Child]]:
    with children() as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of one service, with retries, for everything that changes nothing."""
    with children() as running:
        port = service(running, "a")
        limits = {"body_size": "10MB", "body_timeout": "1s", "header_timeout": "1s"}
        values = stack([port], RETRY, limits=limits, explain=True)
        yield gateway(running, tmp_path_factory.mktemp("shop"), values)


def test_a_request_and_what_it_carries(shop: Gateway) -> None:
    answer = shop.get("/head?x=1", X_Mine="yes", Forwarded="for=evil", X_Forwarded_For="6.6.6.6")
    seen = answer.body.decode()
    assert answer.status == 200
    assert seen.startswith("GET /head?x=1 HTTP/1.1\r\nhost: test\r\n")
    assert "x-mine: yes" in seen
    assert "x-forwarded-for: 127.0.0.1" in seen
    assert "x-forwarded-host: test" in seen
    assert "forwarded: for=127.0.0.1;host=test;proto=http" in seen
    assert "via: 1.1 escala" in seen
    assert "evil" not in seen
    assert "6.6.6.6" not in seen
    assert "connection" not in seen
    assert answer.headers["escala-route"] == "/"
    assert answer.headers["escala-policies"] == "deadline, retry, timeout"
    assert answer.headers["escala-target"].startswith("127.0.0.1:")
    assert answer.headers["escala-attempts"] == "1"


@pytest.mark.parametrize(
    ("target", "status", "attempts"),
    [
        ("/close", 502, "3"),
        ("/garbage", 502, "3"),
        ("/half", 502, "3"),
        ("/status?code=503", 503, "3"),
        ("/status?code=404", 404, "1"),
        ("/slow?s=5", 504, "2"),
        ("/nothing", 404, "1"),
    ],
)
def test_a_target_that_misbehaves(shop: Gateway, target: str, status: int, attempts: str) -> None:
    began = time.monotonic()
    answer = shop.get(target)
    assert answer.status == status
    assert answer.headers["escala-attempts"] >= attempts
    assert time.monotonic() - began < 3.5


def test_a_stream_that_breaks_off_is_cut_off_for_the_client_too(shop: Gateway) -> None:
    with connect(shop.port) as link:
        link.sendall(b"GET /halfchunk HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = until_closed(link)
    assert b"half" in seen
    assert not seen.endswith(b"0\r\n\r\n")


def test_a_post_is_made_once_unless_it_says_that_it_may_be_repeated(shop: Gateway) -> None:
    def times() -> int:
        return eval(shop.get("/served").body).get(b"/once/close", 0)  # noqa: S307  our own repr

    before = times()
    assert ask(shop.port, "POST", "/once/close", body=b"x").status == 502
    assert times() - before == 1
    key = {"Idempotency-Key": "7"}
    assert ask(shop.port, "POST", "/once/close", key, body=b"x").status == 502
    # Three attempts, and one more: the kept-alive connection that was used first ended without
    # a byte of an answer, as one does that the target had closed just before.
    assert times() - before == 1 + 3 + 1


def test_bodies_pass_whole_both_ways(shop: Gateway) -> None:
    data = os.urandom(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    answer = ask(shop.port, "POST", "/echo", body=data)
    assert answer.body.decode() == f"{len(data)} {digest}"
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part)
        for part in (data[at : at + 70_000] for at in range(0, len(data), 70_000))
    )
    with connect(shop.port) as link:
        link.sendall(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        )
        assert Answer(until_closed(link)).body.decode() == f"{len(data)} {digest}"
    assert len(shop.get("/big?n=5000000").body) == 5_000_000


def test_a_streamed_answer_arrives_while_it_is_made(shop: Gateway) -> None:
    with connect(shop.port) as link:
        link.sendall(b"GET /drip?n=10 HTTP/1.1\r\nHost: a\r\n\r\n")
        began = time.monotonic()
        first = link.recv(65536)
        early = time.monotonic() - began
        assert b"200 OK" in first
        seen = first
        while not seen.endswith(b"0\r\n\r\n"):
            seen += link.recv(65536)
    assert early < 0.3
    assert time.monotonic() - began > 0.45
    assert Answer(seen).body == b"".join(b"%02d" % n for n in range(10))


def test_expect_continue_waits_for_the_service(shop: Gateway) -> None:
    with connect(shop.port) as link:
        link.sendall(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert link.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(b"abc")
        assert Answer(until_closed(link)).body.startswith(b"3 ")


def test_a_websocket_passes_through(shop: Gateway) -> None:
    ask_for = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with connect(shop.port) as link:
        link.sendall(ask_for + b"early")
        seen = b""
        while b"early" not in seen:
            seen += link.recv(65536)
        assert seen.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in seen
        data = os.urandom(2_000_000)
        sender = threading.Thread(target=link.sendall, args=(data,))
        sender.start()
        back = b""
        while len(back) < len(data):
            back += link.recv(65536)
        sender.join()
        assert back == data
    deadline = time.monotonic() + 5
    while shop.status()["upstreams"]["shop"]["targets"][0]["in_flight"]:
        assert time.monotonic() < deadline, "the closed tunnel still counts as in flight"
        time.sleep(0.05)


def test_an_upgrade_that_is_declined_is_an_ordinary_answer(shop: Gateway) -> None:
    with connect(shop.port) as link:
        link.sendall(
            b"GET /name HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        answer = Answer(until_closed(link))
    assert (answer.status, answer.body) == (200, b"a")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", 431),
        (
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10737418240\r\n\r\n" + b"x" * 10**6,
            413,
        ),
        (
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHos", 408),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx", 408),
    ],
    ids=["no host", "10,000 lines", "10 GB", "bad chunk", "slow header", "slow body"],
)
def test_bad_input(shop: Gateway, data: bytes, status: int) -> None:
    with connect(shop.port) as link:
        link.sendall(data)
        assert Answer(until_closed(link)).status == status


def test_a_chunked_body_beyond_the_limit_is_refused_under_way(shop: Gateway) -> None:
    with connect(shop.port) as link:
        link.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        seen = b""
        link.settimeout(0.001)
        for _ in range(2000):
            try:
                link.sendall(block)
            except TimeoutError:
                pass
            except ConnectionError:
                break
            try:
                seen += link.recv(4096)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert b"413" in seen


def test_admin_pages(shop: Gateway) -> None:
    assert ask(shop.admin_port, "GET", "/healthz").status == 200
    assert ask(shop.admin_port, "GET", "/readyz").status == 200
    assert ask(shop.admin_port, "POST", "/status").status == 405
    missing = ask(shop.admin_port, "GET", "/")
    assert missing.status == 404
    assert b"/metrics" in missing.body
    shop.get("/name")
    metrics = ask(shop.admin_port, "GET", "/metrics").body.decode()
    assert 'escala_requests_total{route="/",status="200",worker="0"}' in metrics
    assert 'escala_request_seconds_bucket{le="+Inf",route="/",worker="0"}' in metrics
    assert 'escala_target_in_flight{target="127.0.0.1:' in metrics
    assert shop.get("/metrics").status == 404, "the admin pages are not the public's"


def test_no_route_and_wrong_method(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(
        started, tmp_path, stack([port], route_path="/api/", route_methods=["GET", "POST"])
    )
    assert front.get("/other").status == 404
    assert front.get("/api/name").body == b"a"
    wrong = ask(front.port, "DELETE", "/api/name")
    assert wrong.status == 405
    assert wrong.headers["allow"] == "GET, POST"
    assert front.get("/apiname").status == 404


def test_refusals_say_who_and_when(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    policies = [{"rate_limit": {"limit": "1/min", "burst": 2, "key": "client_ip"}}]
    front = gateway(started, tmp_path, stack([port], policies))
    answers = [front.get("/name") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["escala-rejected"] == "rate_limit"
    assert 55 <= int(answers[2].headers["retry-after"]) <= 60
    assert front.status()["routes"][0]["rejected"] == {"rate_limit": 1}


def test_a_full_bulkhead_answers_503(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port], [{"bulkhead": {"slots": 1, "queue": 0}}]))
    slow = threading.Thread(target=front.get, args=("/slow?s=1",))
    slow.start()
    time.sleep(0.3)
    refused = front.get("/name")
    slow.join()
    assert refused.status == 503
    assert refused.headers["escala-rejected"] == "bulkhead"
    assert front.get("/name").status == 200


def test_no_spelling_of_a_path_passes_its_route(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    values = stack([port], explain=True)
    guarded = [{"rate_limit": {"limit": "1/min", "burst": 1}}]
    values["routes"].append({"path": "/adm/", "upstream": "shop", "policies": guarded})
    front = gateway(started, tmp_path, values)
    spellings = ["/adm/a", "/%61dm/a", "//adm/a", "/adm%2fa", "/adm//a", "/\\adm/a", "/%2Fadm/a"]
    assert {front.get(each).headers["escala-route"] for each in spellings} == {"/adm/"}
    assert front.get("/%61dmin").headers["escala-route"] == "/"


def test_a_trailer_without_end_costs_little(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port]))
    before = front.resident_mb()
    with connect(front.port) as link:
        link.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        link.sendall(b"3\r\nabc\r\n0\r\nX: ")
        try:
            for _ in range(500):
                link.sendall(b"a" * 65536)
        except ConnectionError:
            pass
    assert front.resident_mb() - before < 5
    assert front.get("/name").status == 200


def test_the_breaker_opens_and_spares_the_target(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    policies = [{"circuit_breaker": {"minimum_calls": 5, "cooldown": "1s"}}]
    front = gateway(started, tmp_path, stack([port], policies))
    codes = [front.get("/status?code=500").status for _ in range(8)]
    assert codes == [500] * 5 + [503] * 3
    events = [event for event in front.status()["events"] if event["type"] == "breaker"]
    assert events[-1]["detail"]["after"] == "open"
    time.sleep(1.1)
    assert front.get("/name").status == 200


def test_a_fallback_answers_for_a_target_that_is_gone_and_metrics_say_so(
    started: list[Child], tmp_path: Path
) -> None:
    port = service(started, "a")
    fields = {"content-type": "application/json"}
    policies = [{"fallback": {"body": "[]", "headers": fields}}, {"retry": 1}]
    front = gateway(started, tmp_path, stack([port], policies, explain=True))
    assert front.get("/name").headers["escala-target"] == f"127.0.0.1:{port}"
    started[0].process.kill()
    started[0].process.wait()
    answer = front.get("/name")
    assert (answer.status, answer.body) == (200, b"[]")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["escala-fallback"]
    assert front.status()["routes"][0]["policies"]["fallback"] == {"answered": 1.0}


def test_why_a_store_is_away_is_told(started: list[Child], tmp_path: Path) -> None:
    port, gone = service(started, "a"), "redis://127.0.0.1:1"
    policies = [
        {"rate_limit": {"limit": "1000/s", "store": gone}},
        {"circuit_breaker": {"store": gone}},
    ]
    front = gateway(started, tmp_path, stack([port], policies))
    assert [front.get("/name").status for _ in range(4)] == [200] * 4
    told = [event for event in front.status()["events"] if event["type"] == "store"]
    assert [(each["name"], each["detail"]["away"]) for each in told] == [
        ("/.circuit_breaker", True),
        ("/.rate_limit", True),
    ]
    assert all("refused" in each["detail"]["reason"].lower() for each in told)
    front.wait_for(r"store: /\.rate_limit away=True reason=Redis at")


def test_the_cache_spares_the_target(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port], ["cache"], explain=True))
    assert [front.get("/cached").headers["escala-cache"] for _ in range(3)] == [
        "miss",
        "hit",
        "hit",
    ]
    assert eval(front.get("/served").body)[b"/cached"] == 1  # noqa: S307  our own repr
    assert front.get("/cached", If_None_Match='"1"').status == 304
    assert "age" in front.get("/cached").headers


def test_a_stale_answer_is_refreshed_behind_the_scenes_and_conditionally(
    started: list[Child], tmp_path: Path
) -> None:
    port = service(started, "a")
    policies = [{"cache": {"stale_while_revalidate": "60s"}}]
    front = gateway(started, tmp_path, stack([port], policies, explain=True))
    assert front.get("/brief").headers["escala-cache"] == "miss"
    time.sleep(1.5)
    stale = front.get("/brief")
    assert (stale.headers["escala-cache"], stale.body) == ("stale", b"a")
    time.sleep(0.3)
    assert eval(front.get("/served").body)[b"304"] == 1  # noqa: S307  our own repr
    assert front.get("/brief").headers["escala-cache"] == "hit"


def test_a_killed_target_costs_no_get(started: list[Child], tmp_path: Path) -> None:
    first, second = service(started, "a"), service(started, "b")
    front = gateway(started, tmp_path, stack([first, second], RETRY, upstream_health=HEALTH))
    front.wait_for(r"health: shop target=\S+ healthy=True")
    failed: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answer = front.get("/name")
            if answer.status != 200:
                failed.append(answer.status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    started[0].process.kill()
    time.sleep(1.0)
    names = {front.get("/name").body for _ in range(10)}
    started.append(Child(str(Path(__file__).parent / "upstream.py"), str(first), "a"))
    time.sleep(1.0)
    back = {front.get("/name").body for _ in range(10)}
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert names == {b"b"}
    assert back == {b"a", b"b"}
    started[0].process.wait()


def test_without_a_healthy_target_it_says_so(started: list[Child], tmp_path: Path) -> None:
    front = gateway(started, tmp_path, stack([9], RETRY, upstream_health=HEALTH))
    front.wait_for(r"health: shop target=127.0.0.1:9 healthy=False")
    answer = front.get("/name")
    assert answer.status == 503
    assert b"no healthy target" in answer.body
    assert ask(front.admin_port, "GET", "/readyz").status == 200


def test_a_reload_drops_no_connection_and_no_request(started: list[Child], tmp_path: Path) -> None:
    first, second = service(started, "a"), service(started, "b")
    front = gateway(started, tmp_path, stack([first], workers=2))
    with connect(front.port) as link:
        link.sendall(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n")
        assert link.recv(4096).endswith(b"a")
        slow: list[Answer] = []
        waiting = threading.Thread(target=lambda: slow.append(front.get("/slow?s=1")))
        waiting.start()
        time.sleep(0.3)
        values = stack([second], workers=2)
        front.path.write_text(json.dumps(values))
        front.process.send_signal(signal.SIGHUP)
        front.wait_for(r"reloaded: generation 2")
        link.sendall(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n")
        assert link.recv(4096).endswith(b"b"), "the same connection, the new stack"
        waiting.join()
        assert slow[0].body == b"a", "what had begun ends with the old one"
    front.path.write_text("listen: nowhere\nroutes: []\n")
    front.process.send_signal(signal.SIGHUP)
    front.wait_for(r"reload refused")
    assert front.get("/name").body == b"b"
    status = front.status()
    assert status["reload"]["ok"] is False
    assert any("stack.yaml:1:" in problem for problem in status["reload"]["problems"])
    assert b"escala_reload_ok 0.0" in ask(front.admin_port, "GET", "/metrics").body


def test_watch_reloads_by_itself_and_keeps_what_did_not_change(
    started: list[Child], tmp_path: Path
) -> None:
    port = service(started, "a")
    values = stack([port], ["cache"], explain=True)
    front = gateway(started, tmp_path, values, "--watch")
    assert front.get("/cached").headers["escala-cache"] == "miss"
    other = {"path": "/other/", "upstream": "shop"}
    front.path.write_text(json.dumps({**values, "routes": [*values["routes"], other]}))
    front.wait_for(r"reloaded: generation 2")
    assert front.get("/cached").headers["escala-cache"] == "hit"
    assert front.get("/other/name").headers["escala-route"] == "/other/"


def test_a_worker_that_dies_is_replaced_and_waiting_connections_survive(
    started: list[Child], tmp_path: Path
) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port]))
    (worker,) = front.workers()
    os.kill(worker, signal.SIGKILL)
    assert front.get("/name").body == b"a", "it waited in the socket until the next worker came"
    assert front.workers() != [worker]
    assert front.status()["restarts"] == 1


def test_a_drain_finishes_requests_and_refuses_new_ones(
    started: list[Child], tmp_path: Path
) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port], workers=2))
    slow: list[Answer] = []
    waiting = threading.Thread(target=lambda: slow.append(front.get("/slow?s=1")))
    waiting.start()
    time.sleep(0.3)
    assert front.stop() == 0
    waiting.join()
    assert slow[0].body == b"a"
    with pytest.raises(ConnectionRefusedError):
        connect(front.port)


def test_a_drain_has_an_end(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port], drain_timeout="500ms"))
    waiting = threading.Thread(target=front.get, args=("/slow?s=20",))
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert front.stop() == 1
    assert time.monotonic() - began < 5
    waiting.join(5)


def test_a_trusted_proxy_is_believed_and_no_one_else(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "a")
    front = gateway(started, tmp_path, stack([port], trusted_proxies=["127.0.0.1"]))
    seen = front.get("/head", X_Forwarded_For="9.9.9.9, 8.8.8.8", X_Forwarded_Proto="https")
    assert b"x-forwarded-for: 9.9.9.9, 8.8.8.8, 127.0.0.1" in seen.body
    assert b"x-forwarded-proto: https" in seen.body


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"listen": "127.0.0.1:{taken}"}, "in use by another process"),
        ({"listen": "203.0.113.1:80"}, "no address of this machine"),
        ({"admin": "127.0.0.1:{taken}"}, "in use by another process"),
    ],
)
def test_addresses_that_cannot_be_had(values: dict[str, str], says: str, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        filled = {key: value.replace("{taken}", port) for key, value in values.items()}
        path = tmp_path / "stack.yaml"
        path.write_text(json.dumps({**stack([9]), **filled}))
        child = Child("-m", "escala", "serve", str(path), stream="stderr")
        child.wait_for("<end>")
        assert child.stop() == 2
    assert says in child.lines[0]
    assert not any("Traceback" in line for line in child.lines)

"""The HTTP probe and health checks against real sockets and a real process on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from escala.balancing import HealthCheck, Target, TargetChanged, Upstream
from escala.balancing.http_probe import HttpProbe
from escala.balancing.request_path import RequestPath
from escala.balancing.status_range import StatusRange
from escala.kernel.events import subscribe
from escala.kernel.runtime import colours

pytestmark = pytest.mark.live

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def probe(path: str = "/health", expect: str = "200..399") -> HttpProbe:
    return HttpProbe(path=RequestPath(path), expect=StatusRange(expect))


async def probed(handler: Handler, ask: HttpProbe | None = None, url: str = "{}") -> bool:
    """Serve with `handler` on a free port and probe it once."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        target = Target(url.format(f"127.0.0.1:{port}"))
        async with asyncio.timeout(5):
            return await (ask or probe())(target)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what it waits for tells no one
            await asyncio.sleep(0.01)


def says(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return handler


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200\r\n\r\n", True),
        (b"HTTP/1.1 200 \r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", True),
        (b"HTTP/1.1 399 Odd\n\n", True),
        (b"HTTP/1.1 199 Odd\r\n\r\n", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"HTTP/1.1 20 OK\r\n\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False),
        (b"HTTP/1.1 200OK\r\n\r\n", False),
        (b"HTTP/2 200 OK\r\n\r\n", False),
        (b" HTTP/1.1 200 OK\r\n\r\n", False),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"\x00\xff\x00\n", False),
        (b"", False),
        (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n", False),
        (b"x" * 1_000_000, False),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_only_the_status_line_decides(answer: bytes, *, passes: bool) -> None:
    assert asyncio.run(probed(says(answer))) is passes


def test_other_codes_may_be_expected() -> None:
    answer = says(b"HTTP/1.1 404 Not Found\r\n\r\n")
    assert asyncio.run(probed(answer, probe(expect="404"))) is True
    assert asyncio.run(probed(answer, probe(expect="405..499"))) is False


def test_the_request_is_a_plain_get_on_a_connection_of_its_own() -> None:
    async def main() -> bytes:
        heard = asyncio.get_running_loop().create_future()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nbody that no one reads")
            with contextlib.suppress(ConnectionError):  # it hangs up on the body
                assert await reader.read() == b"", "it has nothing more to say"
            writer.close()
            heard.set_result(head)

        assert await probed(handler, probe("/up?brief=1"))
        async with asyncio.timeout(5):
            return await heard

    lines = asyncio.run(main()).decode().split("\r\n")
    assert lines[0] == "GET /up?brief=1 HTTP/1.1"
    assert lines[1].startswith("Host: 127.0.0.1:")
    assert lines[2:5] == ["User-Agent: escala-health", "Accept: */*", "Connection: close"]
    assert lines[5:] == ["", ""]


def test_a_closed_port_and_an_unknown_host_have_not_passed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        assert asyncio.run(probe()(Target(f"127.0.0.1:{port}"))) is False
    assert asyncio.run(probe()(Target("nowhere.invalid:80"))) is False
    assert asyncio.run(probe()(Target("a..b:80"))) is False  # what no name server can be asked


def test_a_secure_target_is_asked_in_tls_and_has_to_prove_who_it_is() -> None:
    async def main() -> bytes:
        first = asyncio.get_running_loop().create_future()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first.set_result(await reader.read(2))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()

        assert await probed(handler, url="https://{}") is False
        return await first

    assert asyncio.run(main()) == b"\x16\x03", "a TLS handshake"
    context = probe()._verified()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("silent", ["from the start", "within the line"])
def test_a_server_that_hangs_costs_the_timeout_and_no_connection(silent: str) -> None:
    open_now = 0
    most = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            if silent == "within the line":
                for byte in b"HTTP/1.1 200 " + b"." * 100:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.02)
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
        finally:
            open_now -= 1
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        check = HealthCheck(timeout="100ms", interval="100ms")
        async with server:
            target = Target(f"127.0.0.1:{port}")
            began = time.monotonic()
            assert await check.check(target, colours.loop) is False
            assert 0.09 < time.monotonic() - began < 1
            await until(lambda: open_now == 0)
            async with Upstream("shop", [f"localhost:{port}"], health=check) as upstream:
                await until(lambda: upstream.targets[0].state.value == "unhealthy")
            await until(lambda: open_now == 0)
        assert most == 1

    asyncio.run(main())


SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Servers:
    """Real processes, each on a port of its own, that can be killed and started again."""

    def __init__(self) -> None:
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, port: int = 0) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the server did not start"
        self.running[int(line)] = process
        return int(line)

    def kill(self, port: int) -> None:
        process = self.running.pop(port)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_killed_process_is_out_within_milliseconds_and_back_when_it_runs_again() -> None:
    servers = Servers()
    told: list[TargetChanged] = []
    stop = subscribe(TargetChanged, told.append)
    try:
        ports = [servers.start() for _ in range(3)]
        asyncio.run(_kill_and_restart(servers, ports, told))
    finally:
        stop()
        for port in list(servers.running):
            servers.kill(port)


async def _kill_and_restart(servers: Servers, ports: list[int], told: list[TargetChanged]) -> None:
    health = HealthCheck(path="/", interval="500ms", timeout="400ms")
    upstream = Upstream("shop", [f"127.0.0.1:{port}" for port in ports], health=health)

    async def get() -> None:
        tried: list[Target] = []
        for attempt in range(3):
            try:
                with upstream.pick(tried) as target:
                    tried.append(target)
                    _, writer = await asyncio.open_connection(target.host, target.port)
                    writer.close()
            except ConnectionError:
                assert attempt < 2
            else:
                return

    def all_healthy() -> bool:
        return all(target.healthy for target in upstream.targets)

    async with upstream:
        await until(all_healthy)
        servers.kill(ports[0])
        for _ in range(6):  # six calls reach each target twice
            await get()
        victim = upstream.targets[0]
        assert victim.state.value == "unhealthy"
        assert "in a row failed" in told[-1].reason
        requests = victim.requests
        for _ in range(30):
            await get()
        assert victim.requests == requests
        servers.start(ports[0])
        await until(all_healthy)
        for _ in range(6):
            await get()
        assert victim.requests > requests

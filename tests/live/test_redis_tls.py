"""TLS to a real Redis: who is believed, who is not, and that nothing else is different."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.certificates import Certificate, authority, signed
from tests.servers.redis_server import RedisServer, free_port, running

from escala import CircuitBreaker, TokenBucket
from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime, colours, drive
from escala.stores.script_link import open_link

pytestmark = pytest.mark.live

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


class Secure:
    """A Redis with a TLS port beside the plain one, and the authority that signed for it."""

    def __init__(self, server: RedisServer, port: int, ours: Certificate, folder: Path) -> None:
        self.server, self.port, self.ours, self.folder = server, port, ours, folder

    def url(self, *parameters: str, scheme: str = "rediss", host: str = "127.0.0.1") -> str:
        """The TLS port, with time enough for a handshake on a busy machine."""
        return f"{scheme}://{host}:{self.port}/0?{'&'.join(('timeout=2s', *parameters))}"

    @property
    def known(self) -> str:
        return f"ssl_ca_certs={self.ours.file}"

    def ask(self, ask: Ask, url: str, script: str = COUNT, key: str = "n") -> Any:
        link = open_link(url)
        try:
            return ask(lambda on: link.run(script, (key,), (), on))
        finally:
            link.close()


def opened(folder: Path, names: str, *options: str) -> Iterator[Secure]:
    ours = authority(folder, "ours")
    served, port = signed(ours, "served", names), free_port()
    tls = ("--tls-port", str(port), "--tls-ca-cert-file", str(ours.file))
    mine = ("--tls-cert-file", str(served.file), "--tls-key-file", str(served.key))
    with running(*tls, *mine, *options) as server:
        yield Secure(server, port, ours, folder)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    names = "DNS:localhost,IP:127.0.0.1"
    yield from opened(tmp_path_factory.mktemp("tls"), names, "--tls-auth-clients", "no")


@both
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_server_whose_authority_is_known_is_believed(
    secure: Secure, ask: Ask, scheme: str
) -> None:
    secure.server.ask("FLUSHALL")
    for host in ("127.0.0.1", "localhost"):
        url = secure.url(secure.known, scheme=scheme, host=host)
        assert secure.ask(ask, url) == (1 if host == "127.0.0.1" else 2)
    assert secure.server.ask("GET", "n").endswith("2\r\n")


@both
@pytest.mark.parametrize("whose", ["the system's", "another's"])
def test_a_server_of_an_unknown_authority_is_refused(secure: Secure, ask: Ask, whose: str) -> None:
    secure.server.ask("FLUSHALL")
    parameters = []
    if whose != "the system's":
        parameters = [f"ssl_ca_certs={authority(secure.folder, 'other').file}"]
    said = rf"^Redis at 127\.0\.0\.1:{secure.port}: .*certificate verify failed.*: ssl_ca_certs in"
    with pytest.raises(StoreUnavailable, match=said):
        secure.ask(ask, secure.url(*parameters))
    assert secure.server.ask("EXISTS", "n") == ":0\r\n", "it was told nothing"


@both
def test_unless_the_url_says_that_no_one_need_be_known(secure: Secure, ask: Ask) -> None:
    secure.server.ask("FLUSHALL")
    assert secure.ask(ask, secure.url("ssl_cert_reqs=none")) == 1


@both
def test_a_certificate_for_another_name_is_refused(tmp_path: Path, ask: Ask) -> None:
    for secure in opened(tmp_path, "DNS:shop.example", "--tls-auth-clients", "no"):
        said = "certificate verify failed: (IP address|Hostname) mismatch"
        with pytest.raises(StoreUnavailable, match=said):
            secure.ask(ask, secure.url(secure.known))
        assert secure.ask(ask, secure.url(secure.known, "ssl_check_hostname=false")) == 1


@both
def test_a_server_that_wants_to_know_its_clients(tmp_path: Path, ask: Ask) -> None:
    for secure in opened(tmp_path, "IP:127.0.0.1"):
        mine = signed(secure.ours, "mine", "DNS:mine.example")
        login = (f"ssl_certfile={mine.file}", f"ssl_keyfile={mine.key}")
        assert secure.ask(ask, secure.url(secure.known, *login)) == 1
        with pytest.raises(StoreUnavailable, match=rf"^Redis at 127\.0\.0\.1:{secure.port}: "):
            secure.ask(ask, secure.url(secure.known))


@both
def test_plain_to_tls_and_tls_to_plain(secure: Secure, ask: Ask) -> None:
    with pytest.raises(StoreUnavailable, match=rf"^Redis at 127\.0\.0\.1:{secure.port}: "):
        secure.ask(ask, secure.url(scheme="redis"))
    plain = secure.server.url.replace("redis://", "rediss://") + "?timeout=100ms"
    with pytest.raises(StoreUnavailable, match="did not answer within 100 ms"):
        secure.ask(ask, plain)


@both
def test_a_long_answer_comes_in_pieces(secure: Secure, ask: Ask) -> None:
    script = "return string.rep('x', 300000)"
    assert len(secure.ask(ask, secure.url(secure.known), script)) == 300_000


@both
def test_a_hard_limit_holds_here_too(tmp_path: Path, ask: Ask) -> None:
    for secure in opened(tmp_path, "IP:127.0.0.1", "--tls-auth-clients", "no"):
        link = open_link(secure.url(secure.known).replace("timeout=2s", "timeout=150ms"))

        async def twice(on: Runtime, secure: Secure = secure, link: Any = link) -> float:
            assert await link.run(COUNT, ("n",), (), on) == 1
            secure.server.pause()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="did not answer within 150 ms"):
                await link.run(COUNT, ("n",), (), on)
            return time.monotonic() - began

        assert 0.1 <= ask(twice) <= 0.5
        secure.server.resume()
        link.close()


def test_policies_count_there_together(secure: Secure) -> None:
    secure.server.ask("FLUSHALL")
    url = secure.url(secure.known)
    limiters = [TokenBucket("3/h", store=url, away="closed", name="tls") for _ in range(2)]

    async def in_loop(limiter: TokenBucket) -> list[bool]:
        return [(await limiter.aacquire()).allowed for _ in range(2)]

    assert [limiters[0].acquire().allowed for _ in range(2)] == [True, True]
    assert asyncio.run(in_loop(limiters[1])) == [True, False]
    breaker = CircuitBreaker(store=url, name="tls")
    assert breaker.call(len, "tea") == 3
    assert breaker.snapshot()["store_away"] == 0.0
    for limiter in limiters:
        limiter.close()
    breaker.close()

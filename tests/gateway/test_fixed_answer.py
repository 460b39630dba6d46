"""A fixed answer in place of none: what `fallback` is in `stack.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from escala.errors import BackendError, CircuitOpen, ConfigError, NoHealthyBackend
from escala.gateway.explain import explained
from escala.gateway.fixed_answer import FixedAnswer
from escala.gateway.pure.client_address import TrustedProxies
from escala.gateway.route import Route
from escala.gateway.stack_file import stack_of
from escala.http.message import HttpRequest, Response
from escala.kernel.events import subscribe
from escala.kernel.policy import Scope
from escala.kernel.stack import Stack
from escala.resilience import FellBack
from escala.testing import VirtualRuntime


class Body:
    """A body that is still arriving."""

    dropped = 0

    def discard(self) -> None:
        self.dropped += 1


class Targets:
    """Answers with what it is given, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0

    async def send(self, head: Any) -> Response:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        made: Response = self.answer
        return made


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()


def failed(response: Response) -> bool:
    return response.status >= 500


def ask(
    world: VirtualRuntime, policy: FixedAnswer, answer: Any, method: str = "GET"
) -> tuple[Response, HttpRequest]:
    targets: Any = Targets(answer)
    route = Route("/", Stack(policy), targets, TrustedProxies(()))
    request = HttpRequest(method, b"/", [])
    return world.run(route.handle(request)), request


def made(**options: Any) -> FixedAnswer:
    entry = {"fallback": {"body": "", **options}}
    stack = stack_of(
        {
            "listen": "127.0.0.1:0",
            "upstreams": {"shop": {"targets": ["127.0.0.1:9001"]}},
            "routes": [{"path": "/", "upstream": "shop", "policies": [entry]}],
        }
    )
    (policy,) = stack.routes[0].stack(Scope(name="shop", judge=failed)).policies
    assert isinstance(policy, FixedAnswer)
    return policy


FAILURES = [
    BackendError("shop", "it broke off"),
    NoHealthyBackend("shop", "none is well"),
    CircuitOpen("guard", "the circuit is open", 3.0),
    TimeoutError(),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_it_answers_when_the_service_does_not(world: VirtualRuntime, failure: Exception) -> None:
    policy = made(body="[]", headers={"Content-Type": "application/json", "x-from": "fallback"})
    told: list[FellBack] = []
    stop = subscribe(FellBack, told.append)
    response, request = ask(world, policy, failure)
    stop()
    assert (response.status, response.body) == (200, b"[]")
    fields = dict(response.headers)
    assert fields.pop(b"date")
    assert fields == {
        b"content-type": b"application/json",
        b"cache-control": b"no-store",
        b"x-from": b"fallback",
    }
    assert request.notes["fallback"] == type(failure).__name__
    assert (b"escala-fallback", type(failure).__name__.encode()) in explained(
        request, response, None
    ).headers
    assert [(each.name, each.cause) for each in told] == [("shop.fallback", type(failure).__name__)]
    assert policy.snapshot() == {"answered": 1.0}


def test_it_takes_the_place_of_a_failed_answer_and_lets_that_go(world: VirtualRuntime) -> None:
    body: Any = Body()
    response, request = ask(world, made(status=203, body="sorry"), Response(503, [], body))
    assert (response.status, response.body) == (203, b"sorry")
    assert (b"content-type", b"text/plain; charset=utf-8") in response.headers
    assert request.notes["fallback"] == "503"
    assert body.dropped == 1


@pytest.mark.parametrize("status", [200, 404, 499])
def test_any_other_answer_passes(world: VirtualRuntime, status: int) -> None:
    own = Response(status, [], b"own")
    policy = made(body="sorry")
    response, request = ask(world, policy, own)
    assert response is own
    assert "fallback" not in request.notes
    assert policy.snapshot() == {"answered": 0.0}


@pytest.mark.parametrize(("status", "said"), [(200, 502), (399, 502), (400, 400), (503, 503)])
def test_no_one_is_told_that_what_was_not_done_is_done(
    world: VirtualRuntime, status: int, said: int
) -> None:
    policy = made(status=status, body="sorry")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(world, policy, BackendError("shop", "broke"), method)[0].status == said
    for method in ("GET", "HEAD", "OPTIONS"):
        assert ask(world, policy, BackendError("shop", "broke"), method)[0].status == status


def test_a_mistake_in_the_program_is_not_hidden(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.excepthook", lambda *error: None)
    assert ask(world, made(body="sorry"), KeyError("a bug"))[0].status == 500


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": 199}, "status: expected an integer from 200 to 599, found 199"),
        ({"status": 600}, "status: expected an integer from 200 to 599, found 600"),
        ({"headers": {"content-length": "3"}}, "headers: expected none that the gateway writes"),
        (
            {"headers": {"Date": "now"}},
            "headers: expected none that the gateway writes, found D",
        ),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "that the gateway writes, found Transfer-"),
        ({"headers": {"two words": "x"}}, "the name of a header field"),
        ({"headers": {"x\n": "x"}}, "the name of a header field"),
        ({"headers": {"x": "a\r\nset-cookie: b"}}, "the value of a header field, in one line"),
        ({"headers": {"x": "a\n"}}, "the value of a header field, in one line"),
        ({"headers": {"x": ""}}, "the value of a header field, in one line"),
        ({"headers": {"x": "\u20ac"}}, "the value of a header field, in one line"),
        ({"body": 7}, "body: expected text, found 7"),
        ({"bodies": ""}, "bodies: expected one of"),
    ],
)
def test_what_is_no_answer_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**options)
    assert said in str(caught.value)


def test_it_is_written_in_code_as_in_the_file() -> None:
    policy = made(status=503, body="sorry", headers={"retry-after": "5"})
    written = FixedAnswer("sorry", status=503, headers={"retry-after": "5"})
    assert policy.options == written.options
    assert hash(policy.options) == hash(written.options)
    assert repr(FixedAnswer("")) == "FixedAnswer('')"
    assert eval(repr(written)).options == written.options  # noqa: S307  our own repr

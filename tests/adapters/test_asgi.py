"""The ASGI middleware, in virtual time and without a server."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from escala.adapters import AsgiMiddleware
from escala.errors import BulkheadFull, CircuitOpen, ConfigError
from escala.kernel.context import current_request, deadline
from escala.kernel.stack import Stack
from escala.limiting import TokenBucket
from escala.resilience import Bulkhead, CircuitBreaker, Deadline, Retry
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


class Served:
    """What came out of one request."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        fields = [(name.decode(), value.decode()) for name, value in self.sent[0]["headers"]]
        assert len(dict(fields)) == len(fields)
        return dict(fields)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent[1:])


async def receive() -> Any:
    return {"type": "http.request"}


async def tea(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"green ", "more_body": True})
    await send({"type": "http.response.body", "body": b"tea"})


async def ask(app: Any, client: str = "192.0.2.7", **headers: str) -> Served:
    served = Served()
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {
        "type": "http", "method": "GET", "path": "/tea", "headers": fields, "client": (client, 9),
    }  # fmt: skip
    await app(scope, receive, served.send)
    return served


def test_every_answer_tells_how_the_limit_stands(world: VirtualRuntime) -> None:
    app = AsgiMiddleware(tea, TokenBucket("2/min", key="client_ip", name="shop"))
    first, second, third = (world.run(ask(app)) for _ in range(3))
    assert first.status == second.status == 200
    assert first.body == b"green tea"
    assert first.headers == {
        "x-own": "1",
        "ratelimit-policy": '"shop";q=2;w=60',
        "ratelimit": '"shop";r=1;t=30',
    }
    assert second.headers["ratelimit"] == '"shop";r=0;t=60'
    assert third.status == 429
    assert third.headers == {
        "ratelimit-policy": '"shop";q=2;w=60',
        "ratelimit": '"shop";r=0;t=30',
        "retry-after": "30",
        "content-type": "application/problem+json",
        "content-length": str(len(third.body)),
    }
    assert json.loads(third.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "shop: the limit of 2/min is used up for this client_ip; try again in 30 s",
        "violated-policies": ["shop"],
    }
    world.advance(29.5)
    assert world.run(ask(app)).headers["retry-after"] == "1"
    assert world.run(ask(app, client="192.0.2.8")).status == 200


def test_a_key_may_be_any_function_of_the_request(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/h", key=lambda request: request and request.get("header:X-Api-Key"))
    app = AsgiMiddleware(tea, limiter)
    assert world.run(ask(app, x_api_key="ann")).status == 200
    assert world.run(ask(app, x_api_key="bob")).status == 200
    assert world.run(ask(app, x_api_key="ann")).status == 429


def test_the_older_fields_are_an_option(world: VirtualRuntime) -> None:
    served = world.run(ask(AsgiMiddleware(tea, TokenBucket("2/min"), older=True)))
    assert served.headers["x-ratelimit-limit"] == "2"
    assert served.headers["x-ratelimit-remaining"] == "1"
    assert served.headers["x-ratelimit-reset"] == "30"


def test_several_limits(world: VirtualRuntime) -> None:
    stack = Stack(
        TokenBucket("5/min", name="each", key="client_ip"), TokenBucket("1/h", name="all")
    )
    app = AsgiMiddleware(tea, stack)
    assert world.run(ask(app)).headers["ratelimit"] == '"each";r=4;t=12, "all";r=0;t=3600'
    refused = world.run(ask(app))
    assert refused.headers["ratelimit-policy"] == '"each";q=5;w=60, "all";q=1;w=3600'
    assert refused.headers["ratelimit"] == '"each";r=3;t=24, "all";r=0;t=3600'
    assert json.loads(refused.body)["violated-policies"] == ["all"]


def test_who_matters_more_is_let_in_first(world: VirtualRuntime) -> None:
    served: list[int] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        request = current_request()
        assert request is not None
        served.append(request.priority)
        await world.sleep(1)
        await tea(scope, receive, send)

    app = AsgiMiddleware(
        slow,
        Bulkhead(1, queue=9, order="priority"),
        priority=lambda request: {"gold": 2, "silver": 1}.get(request.get("header:x-tier"), 0),
    )

    async def main() -> None:
        asked = []
        for tier in ("none", "none", "silver", "gold"):
            asked.append(world.spawn(ask(app, x_tier=tier)))
            await world.sleep(0.01)
        for each in asked:
            assert (await each).status == 200

    world.run(main())
    assert served == [0, 2, 1, 0]


def test_a_priority_that_is_none_serves_no_one(world: VirtualRuntime) -> None:
    app = AsgiMiddleware(tea, Bulkhead(1), priority=lambda request: "high")  # type: ignore[return-value, arg-type]
    with pytest.raises(TypeError, match="AsgiMiddleware: priority: expected a whole number, found"):
        world.run(ask(app))


def test_another_refusal_is_503(world: VirtualRuntime) -> None:
    breaker = CircuitBreaker(cooldown="7s", name="guard")
    breaker.switch("forced_open")
    refused = world.run(ask(AsgiMiddleware(tea, breaker)))
    assert refused.status == 503
    assert "retry-after" not in refused.headers
    assert json.loads(refused.body) == {
        "title": "Service Unavailable",
        "status": 503,
        "detail": "guard: the circuit was switched to forced_open",
    }


def test_a_limit_whose_store_is_away_does_not_claim_to_be_used_up(world: VirtualRuntime) -> None:
    closed = TokenBucket("10/s", store="redis://127.0.0.1:1", away="closed", name="shop")

    async def main() -> Served:
        for _ in range(3):
            await closed.aacquire()
        return await ask(AsgiMiddleware(tea, closed))

    refused = world.run(main())
    assert refused.status == 429
    said = json.loads(refused.body)
    assert said["detail"].startswith(
        "shop: the store in which the limit of 10/s is counted is away; try again in "
    )
    assert said["violated-policies"] == ["shop"]


def test_the_app_s_own_refusals_are_told_as_well(world: VirtualRuntime) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise CircuitOpen("bank", "the circuit is open", 2.5)

    refused = world.run(ask(AsgiMiddleware(app, Bulkhead(1))))
    assert (refused.status, refused.headers["retry-after"]) == (503, "3")


def test_a_slot_is_held_until_the_answer_is_complete(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(5)  # noqa: TID251  an application's own wait
        await send({"type": "http.response.body", "body": b"done"})

    app = AsgiMiddleware(slow, bulkhead)

    async def main() -> None:
        first = asyncio.create_task(ask(app))
        await asyncio.sleep(1)  # noqa: TID251  an application's own wait, virtual here
        assert bulkhead.free == 0
        assert (await ask(app)).status == 503
        assert (await first).status == 200
        assert bulkhead.free == 1

    world.run(main())


def test_an_answer_that_has_begun_cannot_become_another(world: VirtualRuntime) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise BulkheadFull("inner", "full")

    with pytest.raises(BulkheadFull):
        world.run(ask(AsgiMiddleware(app, Bulkhead(1))))


def test_other_errors_pass(world: VirtualRuntime) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.run(ask(AsgiMiddleware(app, Bulkhead(1))))


class Looks:
    """An application that remembers what its context was, before and after its answer began."""

    def __init__(self) -> None:
        self.left: list[float] = []
        self.request: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.request = current_request()
        self.left.append(deadline())
        await send({"type": "http.response.start", "status": 204})
        self.left.append(deadline())
        await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        (None, None, math.inf),
        (None, "1500", 1.5),
        ("2s", None, 2.0),
        ("2s", "1500", 1.5),
        ("2s", "9000", 2.0),
        ("2s", "soon", 2.0),
    ],
)
def test_the_deadline_comes_from_the_client_within_our_own(
    world: VirtualRuntime, own: str | None, asked: str | None, expected: float
) -> None:
    looks = Looks()
    app = AsgiMiddleware(looks, Bulkhead(1), deadline=own)
    world.run(ask(app, **({} if asked is None else {"x_request_timeout_ms": asked})))
    assert looks.left == [expected, math.inf], "a long answer may go on once it has begun"
    assert deadline() == math.inf


def test_a_policy_s_own_deadline_stays_in_force(world: VirtualRuntime) -> None:
    looks = Looks()
    world.run(ask(AsgiMiddleware(looks, Deadline("1s"), deadline="5s")))
    assert looks.left == [1.0, 1.0]


def test_a_deadline_answers_504(world: VirtualRuntime) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5)  # noqa: TID251  an application's own wait, virtual here

    late = world.run(ask(AsgiMiddleware(app, Deadline("1s"))))
    assert late.status == 504
    assert json.loads(late.body)["detail"].startswith("deadline: the call with all its attempts")
    assert world.now() == 1.0


def test_what_waits_inside_obeys_the_deadline(world: VirtualRuntime) -> None:
    busy = Bulkhead(1, queue=5)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await busy.acall(tea, scope, receive, send)

    async def main() -> Served:
        limited = AsgiMiddleware(app, Stack(), deadline="2s")
        return await busy.acall(ask, limited)

    assert world.run(main()).status == 504
    assert world.now() == 2.0


def test_the_request_is_known_to_everything_inside(world: VirtualRuntime) -> None:
    looks = Looks()
    world.run(ask(AsgiMiddleware(looks, Bulkhead(1)), host="shop.test", x_tea="green"))
    request = looks.request
    names = ["client_ip", "method", "path", "host", "header:X-Tea", "header:none", "key", "no"]
    assert [request.get(name) for name in names] == [
        "192.0.2.7", "GET", "/tea", "shop.test", "green", None, None, None,
    ]  # fmt: skip
    assert request.idempotent is True
    assert request.repeatable is False
    assert current_request() is None


def test_websockets_and_lifespan_pass_untouched(world: VirtualRuntime) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    limited = AsgiMiddleware(app, TokenBucket("1/h"))
    for kind in ("websocket", "lifespan"):
        for _ in range(3):
            scope, served = {"type": kind}, Served()
            world.run(limited(scope, receive, served.send))
            assert seen[-1] == (scope, receive, served.send)


def test_a_client_without_an_address(world: VirtualRuntime) -> None:
    served, scope = Served(), {"type": "http", "method": "GET", "path": "/", "headers": []}
    app = AsgiMiddleware(tea, TokenBucket("1/h", key="client_ip"))
    world.run(app(scope, receive, served.send))
    assert served.status == 200


def test_policies_that_repeat_are_refused() -> None:
    with pytest.raises(ConfigError, match="AsgiMiddleware: Retry may run its call again"):
        AsgiMiddleware(tea, Stack(Bulkhead(1), Retry()))
    with pytest.raises(ConfigError, match="expected a policy, found '10/s'"):
        AsgiMiddleware(tea, "10/s")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a duration above zero"):
        AsgiMiddleware(tea, Bulkhead(1), deadline=0)


def test_nothing_is_lost_when_a_request_is_cancelled_anywhere() -> None:
    async def scenario(trial: Trial) -> None:
        bulkhead = Bulkhead(1, queue=2)

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(1)  # noqa: TID251  an application's own wait, virtual here
            await tea(scope, receive, send)

        app = AsgiMiddleware(slow, bulkhead, deadline="9s")
        first = asyncio.create_task(ask(app))
        await asyncio.sleep(0.5)  # noqa: TID251  an application's own wait, virtual here
        await asyncio.wait({trial.victim(ask(app))})
        assert (await first).status == 200
        assert bulkhead.free == 1
        assert (await ask(app)).status == 200

    assert cancel_everywhere(scenario) >= 4

"""How failures look on their way through the policies."""

from __future__ import annotations

import aiohttp
import grpc
import httpx
import pytest
import requests

from escala.adapters.failed_attempt import FailedAnswer, FailedAttempt, as_it_was, failed
from escala.adapters.grpc_request import GrpcRequest
from escala.adapters.outgoing_request import OutgoingRequest
from escala.errors import Unavailable
from escala.kernel.context import Request, serving
from escala.kernel.stack import Stack
from escala.resilience import Bulkhead, CircuitBreaker, Retry
from escala.resilience.failure_status import status_of_error


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        requests.ConnectionError("no", request=requests.Request()),
        requests.exceptions.SSLError("no"),
        aiohttp.ServerDisconnectedError("no"),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientResponseError(None, (), status=503),  # type: ignore[arg-type]
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_of_both_kinds_and_its_original_comes_back(error: Exception) -> None:
    seen = failed(error)
    assert isinstance(seen, FailedAttempt)
    assert isinstance(seen, Unavailable)
    assert isinstance(seen, type(error))
    assert type(seen).__name__ == type(error).__name__
    assert vars(seen).items() >= vars(error).items()
    assert type(failed(error)) is type(seen), "one class for each kind"
    seen.add_note("tried 3 times")
    assert as_it_was(seen) is error
    assert as_it_was(seen).__notes__ == ["tried 3 times"]


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), aiohttp.ServerTimeoutError(), Unavailable()]
)
def test_what_policies_know_already_stays_as_it_is(error: Exception) -> None:
    assert failed(error) is error


def test_a_time_to_come_back_is_told_with_every_kind() -> None:
    seen = failed(ConnectionResetError(104, "reset"), 7.0)
    assert seen.retry_after == 7.0  # type: ignore[attr-defined]
    assert isinstance(seen, ConnectionResetError)


def test_breakers_read_the_status() -> None:
    answer = FailedAnswer(httpx.Response(503), 503, 2.0)
    assert str(answer) == "the service answered 503"
    assert answer.retry_after == 2.0
    assert status_of_error(answer) == 503
    breaker = CircuitBreaker(statuses=["500..502"], minimum_calls=1)
    with pytest.raises(FailedAnswer):
        breaker.call(_raise, answer)
    assert breaker.state.value == "closed"


def _raise(error: Exception) -> None:
    raise error


def test_classes_that_are_made_up_as_one_goes_do_not_pile_up() -> None:
    from escala.adapters import failed_attempt

    for number in range(1000):
        failed(type(f"E{number}", (Exception,), {})())
    assert len(failed_attempt._kinds) <= 256


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "get"])
def test_methods_that_may_be_repeated(method: str) -> None:
    assert OutgoingRequest(method, "a", lambda _: None, repeatable=True).idempotent is True


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "BREW"])
def test_methods_that_may_not(method: str) -> None:
    assert OutgoingRequest(method, "a", lambda _: None, repeatable=True).idempotent is False
    fields = {"Idempotency-Key": "7"}

    def header(name: str) -> str | None:
        return fields.get(name)

    assert OutgoingRequest(method, "a", header, repeatable=True).idempotent is True


def test_a_call_of_grpc() -> None:
    metadata = (("x-tea", "green"), ("x-bin", b"\xff"))
    with serving(Request(tenant="ann", priority=2)):
        call = GrpcRequest(b"/shop.Tea/Brew", metadata, idempotent=True, repeatable=False)
    assert (call.tenant, call.priority, call.key) == ("ann", 2, "shop.Tea")
    names = ["method", "key", "header:X-Tea", "header:x-bin", "header:no", "client_ip", "tenant"]
    expected = ["/shop.Tea/Brew", "shop.Tea", "green", "\xff", None, None, "ann"]
    assert [call.get(name) for name in names] == expected
    assert (call.idempotent, call.repeatable) == (True, False)
    assert GrpcRequest("/a/b", None, idempotent=False, repeatable=True).get("header:x") is None


def test_streams_are_under_what_never_repeats() -> None:
    from escala.adapters.grpc_attempt import guards

    slots, breaker = Bulkhead(1), CircuitBreaker()
    kept = guards(Stack(Retry(), Stack(breaker, Retry()), slots).flat())
    assert kept.policies == (breaker, slots)
    assert guards([Retry()]).policies == ()


def test_details_have_no_more_time_than_is_left() -> None:
    from escala.adapters.grpc_attempt import Details
    from escala.kernel.context import restore, shorten

    class Given:
        method, metadata, timeout = "/a/b", (), 5.0

    assert Details(Given, 0.0).timeout == 5.0
    before = shorten(3.0)
    try:
        assert Details(Given, 0.0).timeout == 3.0
        assert Details(Given, 9.0).timeout == 0.001
        Given.timeout = 1.0
        assert Details(Given, 0.0).timeout == 1.0
        Given.timeout = None  # type: ignore[assignment]
        assert Details(Given, 0.0).timeout == 3.0
    finally:
        restore(before)
    assert Details(Given, 0.0).timeout is None
    assert isinstance(Details(Given, 0.0), grpc.ClientCallDetails)

"""What an adapter cannot work with is refused when it is made, and not at the first request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from escala.adapters import (
    AiohttpMiddleware,
    AsgiMiddleware,
    GrpcClientInterceptor,
    GrpcServerInterceptor,
    HttpxTransport,
    RequestsAdapter,
    WsgiMiddleware,
    agrpc_interceptors,
)
from escala.errors import ConfigError
from escala.limiting import TokenBucket
from escala.resilience import Retry

HTTP_CLIENTS = (HttpxTransport, RequestsAdapter, AiohttpMiddleware)
GRPC_CLIENTS = (GrpcClientInterceptor, agrpc_interceptors)


def app(*given: Any) -> Any:
    """An application."""


MAKERS: dict[str, Callable[..., Any]] = {
    **{each.__name__: each for each in (*HTTP_CLIENTS, *GRPC_CLIENTS, GrpcServerInterceptor)},
    "AsgiMiddleware": functools.partial(AsgiMiddleware, app),
    "WsgiMiddleware": functools.partial(WsgiMiddleware, app),
}


@pytest.mark.parametrize("where", MAKERS)
@pytest.mark.parametrize("found", [TokenBucket, [TokenBucket("1/s")], None], ids=repr)
def test_what_is_no_policy(where: str, found: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        MAKERS[where](found)
    assert str(caught.value) == f"{where}: policy: expected a policy, found {found!r}"


async def later(_: object) -> bool:
    return True


@pytest.mark.parametrize("make", HTTP_CLIENTS)
def test_a_judge_that_cannot_be_asked(make: Any) -> None:
    with pytest.raises(ConfigError, match=f"{make.__name__}: judge: expected a sync function"):
        make(Retry(), judge=later)
    with pytest.raises(ConfigError, match=f"{make.__name__}: judge: expected a function, found 7"):
        make(Retry(), judge=7)


@pytest.mark.parametrize("where", ["AsgiMiddleware", "WsgiMiddleware", "GrpcServerInterceptor"])
def test_a_priority_that_cannot_be_asked(where: str) -> None:
    with pytest.raises(ConfigError, match=f"{where}: priority: expected a sync function"):
        MAKERS[where](TokenBucket("1/s"), priority=later)
    with pytest.raises(ConfigError, match=f"{where}: priority: expected a function, found 7"):
        MAKERS[where](TokenBucket("1/s"), priority=7)


@pytest.mark.parametrize("make", GRPC_CLIENTS)
def test_marks_that_cannot_be_asked(make: Any) -> None:
    with pytest.raises(ConfigError, match=f"{make.__name__}: idempotent: expected a sync function"):
        make(Retry(), idempotent=later)
    with pytest.raises(ConfigError, match=f"{make.__name__}: idempotent: expected a function"):
        make(Retry(), idempotent=True)

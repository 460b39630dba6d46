"""Policies where calls are made and served: HTTP and gRPC clients, ASGI, WSGI and gRPC servers.

Each name is imported when it is first used, since each needs a library of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escala.adapters.aiohttp_middleware import AiohttpMiddleware
    from escala.adapters.asgi import AsgiMiddleware
    from escala.adapters.asgi_consistency import AsgiConsistency
    from escala.adapters.balanced_transport import BalancedTransport
    from escala.adapters.django_database import ReplicaRouter
    from escala.adapters.grpc_aio_client import agrpc_interceptors
    from escala.adapters.grpc_client import GrpcClientInterceptor
    from escala.adapters.grpc_server import GrpcServerInterceptor
    from escala.adapters.httpx_transport import HttpxTransport
    from escala.adapters.requests_adapter import RequestsAdapter
    from escala.adapters.wsgi import WsgiMiddleware
    from escala.adapters.wsgi_consistency import WsgiConsistency

_HOMES = {
    "AiohttpMiddleware": "escala.adapters.aiohttp_middleware",
    "AsgiConsistency": "escala.adapters.asgi_consistency",
    "AsgiMiddleware": "escala.adapters.asgi",
    "BalancedTransport": "escala.adapters.balanced_transport",
    "GrpcClientInterceptor": "escala.adapters.grpc_client",
    "GrpcServerInterceptor": "escala.adapters.grpc_server",
    "HttpxTransport": "escala.adapters.httpx_transport",
    "ReplicaRouter": "escala.adapters.django_database",
    "RequestsAdapter": "escala.adapters.requests_adapter",
    "WsgiConsistency": "escala.adapters.wsgi_consistency",
    "WsgiMiddleware": "escala.adapters.wsgi",
    "agrpc_interceptors": "escala.adapters.grpc_aio_client",
}

__all__ = [
    "AiohttpMiddleware",
    "AsgiConsistency",
    "AsgiMiddleware",
    "BalancedTransport",
    "GrpcClientInterceptor",
    "GrpcServerInterceptor",
    "HttpxTransport",
    "ReplicaRouter",
    "RequestsAdapter",
    "WsgiConsistency",
    "WsgiMiddleware",
    "agrpc_interceptors",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'escala.adapters' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Asks a gRPC server for its health by the protocol that is made for that."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from escala.errors import ConfigError

if TYPE_CHECKING:
    from escala.balancing.target import Target

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse: field 1, status, SERVING
# Channels share connections by their arguments, and a probe is to find out about new ones.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


def request(service: str) -> bytes:
    r"""A `HealthCheckRequest`: field 1, the service (127 bytes at most), left out when empty.

    >>> request("shop.Cart"), request("")
    (b'\n\tshop.Cart', b'')
    """
    name = service.encode()
    return b"\x0a" + bytes([len(name)]) + name if name else b""


class GrpcProbe:
    """The probe of `HealthCheck(kind="grpc")`: True when the server says `SERVING`.

    One unary call of `grpc.health.v1.Health/Check` for `service`, on a channel of its own. Its
    messages are a few bytes, so that only `grpcio` (extra `grpc`) is needed; without it this
    raises `ConfigError`. The plain client is used, not `grpc.aio`, since it does not care which
    of several event loops asks. TLS targets are verified as any client would.
    """

    __slots__ = ("_grpc", "_request")

    def __init__(self, *, service: str = "") -> None:
        try:
            import grpc
        except ImportError:
            raise ConfigError(
                "HealthCheck: kind: expected an installed grpcio for 'grpc', found none; install "
                "the extra: pip install 'escala[grpc]'"
            ) from None
        self._grpc: Any = grpc
        self._request = request(service)

    async def __call__(self, target: Target) -> bool:
        """Ask once; whoever awaits it sets the time limit."""
        grpc, loop = self._grpc, asyncio.get_running_loop()
        if target.url.secure:
            channel = grpc.secure_channel(target.address, grpc.ssl_channel_credentials(), _OPTIONS)
        else:
            channel = grpc.insecure_channel(target.address, _OPTIONS)
        answer: asyncio.Future[bool] = loop.create_future()

        def settle(passed: bool) -> None:  # noqa: FBT001  how the loop hands it on
            if not answer.done():
                answer.set_result(passed)

        def ended(call: Any) -> None:  # noqa: ANN401  a type of grpc's
            passed = call.code() is grpc.StatusCode.OK and call.result()[:2] == _SERVING
            with suppress(RuntimeError):  # that loop is closed, and no one asks any more
                loop.call_soon_threadsafe(settle, passed)

        try:
            call = channel.unary_unary(_METHOD).future(self._request)
            call.add_done_callback(ended)
            return await answer
        finally:
            channel.close()  # cancels the call, if it still goes on

"""Listening sockets, one for each worker on the same port, owned by the supervisor."""

from __future__ import annotations

import errno
import socket

from escala.errors import ConfigError
from escala.gateway.address import Address

_BACKLOG = 1024


def listen(address: Address, count: int, *, field: str) -> list[socket.socket]:
    """Bind `count` sockets to one address; the kernel spreads connections over them.

    Raises `ConfigError` naming the field when the address is taken, foreign or forbidden.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, where = found[0]
        _ensure_free(family, where)
        sockets: list[socket.socket] = []
        for _ in range(count):
            bound = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(where)
            bound.listen(_BACKLOG)
            bound.setblocking(False)  # noqa: FBT003  the socket module's own signature
            where = bound.getsockname()  # port 0: the others follow the first
    except OSError as error:
        raise ConfigError(f"{field}: {_why(address, error)}") from error
    return sockets


def _ensure_free(family: int, where: tuple[object, ...]) -> None:
    """SO_REUSEPORT would quietly share the port with a gateway that is already running."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)


def _why(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use by another process; stop it or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine"
    if error.errno == errno.EACCES:
        return f"{address} needs more rights: ports below 1024 belong to root"
    return f"cannot listen on {address}: {error.strerror or error}"

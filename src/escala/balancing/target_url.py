"""Where a target listens, the way people write it: `127.0.0.1:9001` or `https://shop.internal`."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

_HOST = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?"
_PATTERN = rf"(?:(https?)://)?({_HOST})(?::([0-9]{{1,5}}))?/?"
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_LONGEST = 300


class TargetUrl(Scalar, str):
    """A scheme, a host and a port, spelled in full: `http://127.0.0.1:9001`.

    Reads `host:port` too, which means http. With a scheme the port may be left out; a path, a
    query and a password have no place here, since a target is a server and not a page of it.
    """

    __slots__ = ()
    expected: ClassVar[str] = "an address such as '127.0.0.1:9001' or 'http://shop.internal:9001'"

    def __new__(cls, value: object) -> Self:
        """Read an address; `WrongValue` if it is none."""
        text = value if isinstance(value, str) and len(value) <= _LONGEST else ""
        found = re.fullmatch(_PATTERN, text)
        if found is None or not (found[1] or found[3]):
            raise WrongValue(cls.expected, value)
        scheme, host = found[1] or "http", found[2].lower()
        port = int(found[3] or _PORTS[scheme])
        if not 0 < port <= _LAST_PORT or not _exists(host):
            raise WrongValue(cls.expected, value)
        return str.__new__(cls, f"{scheme}://{host}:{port}")

    @property
    def text(self) -> str:
        """The full spelling."""
        return str(self)

    @property
    def address(self) -> str:
        """Host and port, as in a `Host` header: `127.0.0.1:9001`, `[::1]:9001`."""
        return self.partition("://")[2]

    @property
    def host(self) -> str:
        """The name or number to connect to, without the brackets of IPv6."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.rpartition(":")[2])

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.startswith("https:")

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text; the port is checked when it is read."""
        examples = ["127.0.0.1:9001", "http://shop.internal:9001", "https://shop.example"]
        return {"type": "string", "pattern": f"^{_PATTERN}$", "examples": examples}


def _exists(host: str) -> bool:
    """Whether what is meant to be a number of IPv4 or IPv6 is one; names are for DNS to know."""
    if host[0] != "[" and not re.fullmatch(r"[0-9.]+", host):
        return True
    from ipaddress import ip_address  # slow to import, and not every target is a number

    try:
        version = ip_address(host.strip("[]")).version
    except ValueError:
        return False
    return version == (6 if host[0] == "[" else 4)

"""Where something listens: `127.0.0.1:8080`."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PARTS = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[^\[\]:/@\s]+)):(?P<port>[0-9]{1,5})"
)
_ANY = "any"
_LAST_PORT = 65535
_LONGEST_NAME = 253


class Address(Scalar, str):
    """`host:port`; IPv6 in brackets (`[::1]:8080`); port 0 lets the system choose one."""

    __slots__ = ()
    expected: ClassVar[str] = "an address such as '127.0.0.1:8080' or '[::1]:8080'"

    def __new__(cls, value: object) -> Self:
        """Read an address; `WrongValue` if it is none."""
        if not isinstance(value, str) or not _valid(value):
            raise WrongValue(cls.expected, value)
        return str.__new__(cls, value.lower())

    @property
    def host(self) -> str:
        """The name or IP address, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.rpartition(":")[2])

    @property
    def text(self) -> str:
        """As it was written, in lower case."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text that ends in a port."""
        pattern = r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+):[0-9]{1,5}$"
        return {"type": "string", "pattern": pattern, "examples": ["127.0.0.1:8080"]}

    def clashes(self, other: Address) -> bool:
        """Whether one machine cannot listen on both."""
        mine, theirs = _numeric(self.host), _numeric(other.host)
        return self.port == other.port != 0 and (mine == theirs or _ANY in {mine, theirs})

    def answers(self, host: str, port: int) -> bool:
        """Whether who connects to this host and port, from the same machine, ends up here."""
        mine, theirs = _numeric(self.host), _numeric(host)
        local = theirs == _ANY or (_is_ip(theirs) and ipaddress.ip_address(theirs).is_loopback)
        return self.port == port and (mine == theirs or (mine == _ANY and local))


def _valid(address: str) -> bool:
    parts = _PARTS.fullmatch(address)
    if parts is None or int(parts["port"]) > _LAST_PORT:
        return False
    host = parts["six"] or parts["name"]
    if parts["six"] or not re.search("[a-z_-]", host, re.IGNORECASE):
        return _is_ip(host)
    return len(host) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, host.split(".")))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _numeric(host: str) -> str:
    """One spelling for each host, as far as that is known without asking DNS."""
    if host == "localhost":
        return "127.0.0.1"
    if not _is_ip(host):
        return host
    ip = ipaddress.ip_address(host)
    return _ANY if ip.is_unspecified else str(ip)

"""A range of IP addresses that is trusted, such as `10.0.0.0/8`."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar, Self

from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue


class Network(Scalar, str):
    """An IP address or a CIDR range; `network` is the range as `ipaddress` knows it."""

    __slots__ = ()
    expected: ClassVar[str] = "an IP address or range such as '10.0.0.0/8' or '::1'"

    def __new__(cls, value: object) -> Self:
        """Read a range; bits beyond its prefix are cleared. `WrongValue` if it is none."""
        try:
            if isinstance(value, str):
                return str.__new__(cls, ipaddress.ip_network(value, strict=False))
        except ValueError:
            pass  # refused below, with the same words as any other value
        raise WrongValue(cls.expected, value)

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The range, for `address in network.network`."""
        return ipaddress.ip_network(self)

    @property
    def text(self) -> str:
        """With its prefix: "10.0.0.0/8"."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text of hexadecimal digits and separators."""
        return {
            "type": "string",
            "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
            "examples": ["10.0.0.0/8"],
        }

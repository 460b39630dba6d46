"""What gRPC's words mean to policies: which statuses are failures, and when to come back."""

from __future__ import annotations

import math
import re
from urllib.parse import unquote

FAILURES = frozenset(
    {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
"""Statuses that say that the service failed; all others are answers to the request."""

PUSHBACK = "grpc-retry-pushback-ms"
"""The trailer with which a server says when to come back (gRFC A6), in milliseconds."""

_MILLISECONDS = re.compile(r"[0-9]{1,12}")
_PEER = re.compile(r"ipv[46]:(?:\[([^\]]+)\]|([^:]+)):[0-9]+")


def pushback(seconds: float) -> str:
    """The trailer for so many seconds, rounded up."""
    return str(math.ceil(min(max(seconds, 0.0), 1e9) * 1000))


def come_back(value: str) -> float:
    """The seconds a trailer speaks of; one that is negative or unreadable means never."""
    return int(value) / 1000 if _MILLISECONDS.fullmatch(value) else math.inf


def service(method: str) -> str:
    """The service of a method: "shop.Tea" of "/shop.Tea/Brew"."""
    return method.rpartition("/")[0].lstrip("/")


def address(peer: str) -> str:
    """The IP address of a peer such as "ipv4:192.0.2.7:5000"; of others all that there is."""
    found = _PEER.fullmatch(unquote(peer))
    return (found[1] or found[2]) if found else peer

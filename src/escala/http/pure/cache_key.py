"""What identifies a stored answer: scheme, host and target, the same for GET and HEAD."""

from __future__ import annotations

_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def cache_key(scheme: bytes, host: bytes, target: bytes) -> bytes:
    """The URI as one key; the host has no case, and its scheme's own port does not count.

    The target is taken as it is: which spellings of a path mean the same is the origin's affair.
    """
    host = host.lower()
    if b":" in host:
        host = host.removesuffix(_DEFAULT_PORTS.get(scheme, b""))
    return b"%b://%b%b" % (scheme, host, target)

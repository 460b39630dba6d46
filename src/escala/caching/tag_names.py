"""Tags as the levels know them: a user's begin with "#", and a key's namespace is one with "/"."""

from __future__ import annotations

from escala.caching.value_store import Signal


def namespace(key: str) -> str:
    """The internal tag of a key's namespace, which is what stands before its first colon."""
    return "/" + key.partition(":")[0]


def plain(signal: Signal) -> str:
    """What was invalidated, in the user's words."""
    if signal.kind == "tag":
        kind = "tag" if signal.name[:1] == "#" else "namespace"
        return f"{kind} {signal.name[1:]}"
    return signal.name

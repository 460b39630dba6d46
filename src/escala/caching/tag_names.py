"""Tags as the levels know them: a user's begin with "#", and a key's namespace is one with "/"."""

from __future__ import annotations

from collections.abc import Iterable

from escala.caching.value_store import Signal


def namespace(key: str) -> str:
    """The internal tag of a key's namespace, which is what stands before its first colon."""
    return "/" + key.partition(":")[0]


def marked(tags: Iterable[str]) -> tuple[str, ...]:
    """The internal tags of a user's, which no namespace can be taken for."""
    if isinstance(tags, str):
        raise TypeError(f"expected several tags, such as ({tags!r},), found one text")
    return tuple(["#" + tag for tag in tags])


def plain(signal: Signal) -> str:
    """What was invalidated, in the user's words."""
    if signal.kind == "tag":
        kind = "tag" if signal.name[:1] == "#" else "namespace"
        return f"{kind} {signal.name[1:]}"
    return signal.name

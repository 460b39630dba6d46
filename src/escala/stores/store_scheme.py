"""The scheme of a store's URL, by which the engine behind it is found."""

from __future__ import annotations

from escala.errors import ConfigError


def store_scheme(url: str) -> str:
    """What stands before "://".

    Raises `ConfigError` where nothing does, and for a cluster, to which no engine of ours speaks.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:  # what was found is not shown: it may be a password
        raise ConfigError(
            "expected a URL such as 'redis://localhost:6379', found text without '://'"
        )
    one, cluster, _ = scheme.partition("+cluster")
    if cluster:
        raise ConfigError(
            f"expected one server, such as '{one}://localhost:6379', found {scheme!r}: each node "
            "of a cluster sends callers to the others, and Escala does not follow; put a proxy "
            "that does before it, or take a server of its own"
        )
    return scheme

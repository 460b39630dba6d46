"""`@Retry` above a function, where `@Retry()` was meant: said at once, and in so many words."""

from __future__ import annotations

from escala.errors import ConfigError


def refuse_bare(policy: str, first: object) -> None:
    """Raise `ConfigError` if a policy's first argument is the function it was to decorate."""
    if callable(first):
        name = getattr(first, "__qualname__", None) or repr(first)
        raise ConfigError(
            f"{policy}: expected its options, found the function {name}: "
            f"to decorate it, write @{policy}() with parentheses"
        )

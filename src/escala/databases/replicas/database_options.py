"""What a `Database` is told in numbers and words, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import msgspec

from escala.balancing.balancer import Balancer, balancer
from escala.databases.replicas.reading_functions import READING
from escala.errors import ConfigError
from escala.kernel.units import Duration, PositiveDuration
from escala.kernel.wrong_value import sentence, shown

_SHORTEST_SECRET = 16
_ELSEWHERE = ("async_creator", "creator", "pool")


class DatabaseOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a `Database` that stand for themselves."""

    fallback: Literal["primary", "refuse"]
    upgrade: Literal["refuse", "move"]
    slow_start: Duration
    interval: PositiveDuration
    patience: PositiveDuration
    wait: Duration
    quorum: Annotated[int, msgspec.Meta(ge=1)] | None


def reading_functions(own: Collection[str]) -> frozenset[str]:
    """Names of SQL functions that only read, with one's own among them."""
    if isinstance(own, str):
        raise ConfigError(f"Database: functions: {sentence('a list of names', 'text')}")
    if not all(isinstance(name, str) for name in own):
        raise ConfigError(f"Database: functions: {sentence('names', 'something else')}")
    return READING | {name.lower() for name in own}


def signing_key(secret: str | bytes | None) -> bytes | None:
    """A secret as bytes; one that could be guessed is refused."""
    raw = secret.encode() if isinstance(secret, str) else secret
    if not isinstance(raw, (bytes, type(None))):
        raise ConfigError(f"Database: secret: {sentence('text or bytes', type(raw).__name__)}")
    if raw is not None and len(raw) < _SHORTEST_SECRET:
        raise ConfigError(f"Database: secret: {sentence('at least 16 bytes', f'{len(raw)}')}")
    return raw


def read_policy(policy: Balancer | str) -> Balancer:
    """How reads are spread."""
    chosen = balancer(policy) if isinstance(policy, str) else policy
    if not isinstance(chosen, Balancer):
        found = shown(policy)
        raise ConfigError(f"Database: policy: {sentence('a balancer or its name', found)}")
    return chosen


def engine_options(said: Mapping[str, object]) -> None:
    """Refuse what would lead every node's engine to the same place."""
    for name in _ELSEWHERE:
        if name in said:
            raise ConfigError(
                f"Database: {name}: expected none, since each node has connections of its own"
            )
    arguments = said.get("connect_args", {})
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"Database: connect_args: {sentence('a mapping', shown(arguments))}")


def quorum(said: int | None, nodes: int) -> int:
    """How many nodes have to agree on whose they are: a majority of them."""
    if said is not None and said > nodes:
        raise ConfigError(f"Database: quorum: {sentence(f'at most {nodes} nodes', str(said))}")
    return nodes // 2 + 1 if said is None else said

"""The hash that deals keys to slots, by the name that stands in the map."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from escala.databases.pure.key_value import KeyValue, as_bytes, checked
from escala.databases.pure.postgres_hash import hash_bytes, hash_int8
from escala.errors import ConfigError, UnknownKey
from escala.hashing.pure.digest import digest
from escala.hashing.pure.redis_slot import redis_digest

KeyHash = Callable[[KeyValue], int]

# The function of PostgreSQL that gives the same as ours, for the types that a key column may have.
_FUNCTIONS = {
    "text": "hashtextextended",
    "varchar": "hashtextextended",
    "character varying": "hashtextextended",
    "string": "hashtextextended",
    "smallint": "hashint8extended",
    "integer": "hashint8extended",
    "int": "hashint8extended",
    "bigint": "hashint8extended",
    "uuid": "uuid_hash_extended",
}


def postgres(key: KeyValue) -> int:
    """What PostgreSQL's own hash gives for text, a whole number or a UUID."""
    key = checked(key)
    if isinstance(key, str):
        return hash_bytes(key.encode())
    if isinstance(key, int):
        return hash_int8(key)
    if isinstance(key, UUID):
        return hash_bytes(key.bytes)
    raise UnknownKey(
        f"ShardMap: hash='postgres' takes text, a whole number or a UUID as key, found {key!r}"
    )


def xxh3(key: KeyValue) -> int:
    """XXH3 of the key's text or bytes."""
    return digest(as_bytes(checked(key)), 0)


def redis(key: KeyValue) -> int:
    """CRC16 of the key's text or bytes, or of its hash tag, as in Redis Cluster."""
    return redis_digest(as_bytes(checked(key)))


HASHES: dict[str, KeyHash] = {"postgres": postgres, "xxh3": xxh3, "redis": redis}


def postgres_function(type_: str) -> str:
    """The server's function for a column of that type. Raises `ConfigError` if there is none.

    >>> postgres_function("VARCHAR(40)")
    'hashtextextended'
    """
    name = type_.partition("(")[0].strip().lower()
    if name not in _FUNCTIONS:
        raise ConfigError(
            "ShardMap: expected a key column of type text, varchar, smallint, integer, bigint or "
            f"uuid, found {type_!r}"
        )
    return _FUNCTIONS[name]

"""Which database has the answer: replicas that are read, shards that are written, moves between.

Names are imported when they are first used: the drivers and SQLAlchemy are loaded by those who
open a database, not by those who import the chapter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

# name: the module of this chapter that has it
_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'escala.databases' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"escala.databases.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

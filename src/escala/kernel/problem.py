"""One thing to mend in a configuration: where it stands, its path, and what is wrong with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from escala.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

Path: TypeAlias = tuple[str | int, ...]

_MOST = 100
_NAME = re.compile(r"[\w-]+")


class _Broken:
    """Stands where a value could not be read; a problem says why."""

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Any = _Broken()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Where something was written: a place in a file, or just the name of a source."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """As compilers print it, so that editors can jump there: "stack.yaml:17:15"."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to mend; `str(problem)` is the line that users read."""

    mark: Mark
    path: Path = ()
    message: str

    def __str__(self) -> str:
        """As in "stack.yaml:17:15: routes[0].path: expected text, found 3"."""
        return ": ".join(filter(None, (str(self.mark), dotted(self.path), self.message)))


class Source(Protocol):
    """Whatever values come from; knows where each was written."""

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Where the value at this path (or its key) stands, or the nearest thing around it."""

    def spelled(self, path: Path) -> str | None:
        """The text as written where it must stand for the value in errors, as `${NAME}` does."""


class Caller(msgspec.Struct, frozen=True):
    """Values that a Python caller passes: the source is the name of what was called."""

    name: str

    def mark(self, path: Path, *, key: bool = False) -> Mark:  # noqa: ARG002  one for all
        """The caller's name."""
        return Mark(source=self.name)

    def spelled(self, path: Path) -> str | None:
        """Nothing: values are shown as they are."""


def dotted(path: Path) -> str:
    """A path as people write it: `routes[0].policies[2].retry.attempts`."""
    text = ""
    for step in path:
        if isinstance(step, str) and _NAME.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one `ConfigError` with every problem, in the order of the file, if there is any."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: (problem.mark.line, problem.mark.column))
    lines = list(dict.fromkeys(map(str, ordered)))
    if len(lines) > _MOST:
        lines[_MOST:] = [f"and {len(lines) - _MOST} more"]
    raise ConfigError(*lines)

"""Targets from a file that something else writes: a deployment, a cron job, a hand."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from escala.balancing.discovery import Discovery, Found
from escala.balancing.target import TargetOptions
from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.problem import Caller, refuse
from escala.kernel.reader import Reader
from escala.kernel.units import PositiveDuration

_LARGEST = 4 << 20
_YAML = (".yaml", ".yml")
_NO_VARIABLES: Mapping[str, str] = {}


class FileOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `discovery: {file: ...}` may say in `stack.yaml`."""

    shorthand: ClassVar[str] = "path"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file: a target a line, or a YAML list of targets if its name ends in .yaml or .yml."""
    interval: PositiveDuration = PositiveDuration("1s")
    """How often it is looked at; it is read only when it has changed."""


class FileTargets(Discovery):
    """The targets that a file lists, read again when it changes: `FileTargets("shop.targets")`.

        # one a line; what follows the address is as in stack.yaml
        10.0.0.1:80
        10.0.0.2:80 weight=2 zone=eu-1
        10.0.0.3:80 zone=eu-2 priority=1

    A file whose name ends in `.yaml` or `.yml` holds a YAML list of what `targets` takes. A file
    with an error in it, or with no target, is told as an event and changes nothing; so replace
    it as a whole (`os.replace`). It is known to have changed by its inode, size and time. Raises
    `ConfigError`.
    """

    Options: ClassVar[type[FileOptions]] = FileOptions

    def __init__(self, path: str | os.PathLike[str], *, interval: float | str = 1.0) -> None:
        path = os.fspath(path) if isinstance(path, os.PathLike) else path
        given = {"path": path, "interval": interval}
        self.options = options(FileOptions, given, where="FileTargets")
        self.again = self.options.interval
        self._seen: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"FileTargets({self.options.path!r})"

    async def look(self) -> Found | None:
        """Read the file if it has changed. Raises `ConfigError` and `OSError`."""
        data = self._changed()
        if data is None:
            return None
        return Found(read_targets(data, self.options.path), self.options.interval)

    def _changed(self) -> bytes | None:
        path = Path(self.options.path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to read from a pipe or a terminal could wait
            raise ConfigError(f"{path}: expected a file, found something else")
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return None
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        self._seen = seen  # also where it turns out to be bad, so that it is told once
        if len(data) > _LARGEST:
            raise ConfigError(f"{path}: expected at most 4 MiB, found more")
        return data


def read_targets(data: bytes, name: str) -> tuple[TargetOptions, ...]:
    """The targets in the text of the file `name`; `ConfigError` with all that is wrong."""
    if name.endswith(_YAML):
        from escala.kernel.yaml_source import parse_yaml  # needs the extra `serve`

        document = parse_yaml(data, name, _NO_VARIABLES)
        reader = Reader(document)
        made = reader.read(tuple[TargetOptions, ...], document.value)
        refuse([*document.problems, *reader.problems])
        targets: tuple[TargetOptions, ...] = made
    else:
        try:
            lines = data.decode().splitlines()
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: expected text in UTF-8, found other bytes") from None
        targets = tuple(
            made
            for number, line in enumerate(lines, 1)
            if (made := _line(line, f"{name}:{number}")) is not None
        )
    if not targets:
        raise ConfigError(f"{name}: expected at least one target, found none")
    return targets


def _line(line: str, where: str) -> TargetOptions | None:
    words = line.partition("#")[0].split()
    if not words:
        return None
    given: dict[str, Any] = {"url": words[0]}
    reader = Reader(Caller(where))
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or name in given:
            reader.wrong((), "words such as 'weight=2' after the address, each once", word)
            continue
        given[name] = int(value) if value.isascii() and value.isdigit() else value
    made: TargetOptions = reader.struct(TargetOptions, given, ())
    refuse(reader.problems)
    return made

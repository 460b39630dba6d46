"""Read which requests came, by whom and how, from a web server's access log.

Common and combined formats, plain or gzip (told apart by their first bytes). A line that does
not parse is counted and skipped; memory is bounded however long the log and its lines are.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from escala.errors import ConfigError

MOST_LINES = 200_000
MOST_LINE_BYTES = 16_384
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_QUOTED = rb'"(?:[^"\\]|\\.)*"'
_LINE = re.compile(
    rb"(?P<client>\S{1,255}) \S+ [^\[]*\[[^\]]+\] "
    rb'"(?P<method>[A-Z]+) (?P<url>[^\s"]+)(?: HTTP/\d(?:\.\d)?)?" '
    rb"\d{3} (?:\d+|-)"
    rb"(?: " + _QUOTED + rb" " + _QUOTED + rb"(?: .*)?)?\s*",
)


class Ask(NamedTuple):
    """One request as the log tells it."""

    client: str
    method: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """The requests of a log in their order, and how many of its lines were of no use."""

    asks: list[Ask]
    lines: int
    broken: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}: {self.lines:,} lines, {self.broken:,} broken"


def read(path: Path) -> AccessLog:
    """Read a log file; `ConfigError` when it is missing or has no line that can be used."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            log = parse(_lines(_opened(file, zipped=start == b"\x1f\x8b")), name=path.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--log {path}: {reason}") from error
    if not log.asks:
        msg = f"--log {path}: none of its {log.lines:,} lines is in common or combined log format"
        raise ConfigError(msg)
    return log


def parse(lines: Iterable[bytes], *, name: str = "log") -> AccessLog:
    """Parse at most `MOST_LINES` lines; equal URLs and clients share one string."""
    asks: list[Ask] = []
    known: dict[bytes, str] = {}
    count = broken = 0
    for line in lines:
        if not line.strip():
            continue
        count += 1
        found = _LINE.fullmatch(line)
        if found is None or (method := found["method"].decode()) not in METHODS:
            broken += 1
        else:
            client, url = (_text(found[part], known) for part in ("client", "url"))
            asks.append(Ask(client, method, url))
        if count == MOST_LINES:
            break
    return AccessLog(asks=asks, lines=count, broken=broken, name=name)


def _text(raw: bytes, known: dict[bytes, str]) -> str:
    text = known.get(raw)
    if text is None:
        text = known[raw] = raw.decode("latin-1")
    return text


def _opened(file: BinaryIO, *, zipped: bool) -> BinaryIO:
    return gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[return-value]


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines; of a line that is too long only a piece, which will not parse."""
    try:
        while line := file.readline(MOST_LINE_BYTES):
            yield line
            while len(line) == MOST_LINE_BYTES and not line.endswith(b"\n"):
                line = file.readline(MOST_LINE_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield b"(the compressed file ends or breaks here)"

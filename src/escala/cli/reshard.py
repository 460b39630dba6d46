"""`escala reshard COMMAND shards.yaml`: move slots to other shards while everything goes on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from escala.cli.reshard_progress import shown_progress
from escala.databases.resharding.plan import Plan
from escala.databases.resharding.reshard import Reshard
from escala.databases.resharding.status import PairStatus
from escala.databases.sharding.shard_map import ShardMap
from escala.errors import CannotReshard, ConfigError
from escala.kernel.problem import refuse
from escala.kernel.reader import Reader
from escala.kernel.yaml_source import load_yaml

DONE, FAILED, INTERRUPTED = 0, 1, 130
_COMMANDS = {
    "plan": "say what would move and what stands in the way; touch nothing",
    "run": "copy, catch up and compare, until all is ready",
    "status": "say how far it is",
    "cutover": "hand the slots to their new shards",
    "reverse": "hand them back, with everything that was written since",
    "complete": "end it: no way back, left-over rows are deleted",
    "abort": "undo what is not cut over",
}


class ShardsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says: shards and their URLs, tables and their shard key."""

    shards: dict[str, str]
    tables: dict[str, str]
    reference: list[str] = []


def main(arguments: Sequence[str]) -> int:
    """Give one command: 0 when it is done, 1 when it failed or was refused, 2 for wrong options.

    One that failed or was interrupted (130) may be given again: it goes on where it was.
    """
    options = _parser().parse_args(arguments)
    file = _file(options)
    try:
        return _give(options, file)
    except CannotReshard as error:
        print(f"escala reshard: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("escala reshard: stopped; give the command again to go on", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    told = "\n".join(f"  {name:<9} {text}" for name, text in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="escala reshard",
        description=f"Move slots to other shards while everything goes on.\n\n{told}",
        epilog="The servers need wal_level=logical, and a superuser in each URL.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=_COMMANDS, metavar="COMMAND")
    parser.add_argument("file", type=Path, nargs="?", help="shards.yaml: shards, tables, reference")
    parser.add_argument("--shard", action="append", default=[], metavar="NAME=URL")
    parser.add_argument("--table", action="append", default=[], metavar="TABLE=KEY")
    parser.add_argument("--reference", action="append", default=[], metavar="TABLE")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--to", metavar="NAMES", help="the shards to come (all that are given)")
    goal.add_argument("--map", type=Path, metavar="FILE", help="the map to come, as JSON")
    parser.add_argument("--max-pause", default="250ms", help="how long writers may wait (250ms)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser


def _file(options: argparse.Namespace) -> ShardsFile:
    values: dict[str, Any] = {"shards": {}, "tables": {}, "reference": []}
    if options.file is not None:
        document = load_yaml(options.file, os.environ)
        reader = Reader(document)
        read = reader.read(ShardsFile, document.value)
        refuse([*document.problems, *reader.problems])
        values = msgspec.structs.asdict(read)
    shards = {**values["shards"], **_pairs("--shard", options.shard)}
    tables = {**values["tables"], **_pairs("--table", options.table)}
    if not shards:
        raise ConfigError("escala reshard: expected a file or --shard NAME=URL, found neither")
    reference = [*values["reference"], *options.reference]
    return ShardsFile(shards=shards, tables=tables, reference=reference)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"escala reshard: {option}: expected NAME=VALUE")
        pairs[name] = value
    return pairs


def _give(options: argparse.Namespace, file: ShardsFile) -> int:
    def reshard(to: ShardMap | None = None, tell: Any = None) -> Reshard:  # noqa: ANN401  as there
        return Reshard(
            file.shards,
            tables=file.tables,
            reference=file.reference,
            to=to,
            max_pause=options.max_pause,
            tell=tell,
        )

    name: str = options.command
    if name == "status":
        _tell(options, name, reshard().status())
        return DONE
    to = None
    if name == "plan" or (name == "run" and not reshard().status()):
        to = _goal(options, file, reshard())
    if name == "plan":
        return _tell_plan(options, reshard(to).plan())
    with shown_progress(plain=options.json) as tell:
        status = getattr(reshard(to, tell), name)()
    _tell(options, name, status)
    return DONE


def _goal(options: argparse.Namespace, file: ShardsFile, reshard: Reshard) -> ShardMap:
    if options.map is not None:
        try:
            return ShardMap.from_json(options.map.read_text())
        except OSError as error:
            raise ConfigError(f"escala reshard: --map: {error}") from error
    names = [each.strip() for each in (options.to or ",".join(file.shards)).split(",")]
    if unknown := sorted({*names} - file.shards.keys()):
        raise ConfigError(f"escala reshard: --to: there is no shard {', '.join(unknown)}")
    return reshard.current_map().with_shards(names)


def _tell_plan(options: argparse.Namespace, plan: Plan) -> int:
    if options.json:
        told = {
            "pairs": [pair._asdict() for pair in plan.pairs],
            "problems": plan.problems,
            "warnings": plan.warnings,
        }
        print(msgspec.json.encode(told).decode())
        return FAILED if plan.problems else DONE
    for pair in plan.pairs:
        what = (
            f"{pair.slots} slots, about {pair.rows:,} rows" if pair.slots else f"{pair.keys} keys"
        )
        print(f"{pair.source} -> {pair.target}: {what}")
    for line in plan.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in plan.problems:
        print(f"in the way: {line}", file=sys.stderr)
    return FAILED if plan.problems else DONE


def _tell(options: argparse.Namespace, name: str, status: Sequence[PairStatus]) -> None:
    if options.json:
        print(msgspec.json.encode(status).decode())
        return
    if not status:
        print("no move is under way")
    for pair in status:
        text = f"{pair.source} -> {pair.target}: {pair.state}"
        if pair.rows:
            text += f", {pair.rows:,} rows compared"
        if pair.lag:
            text += f", {pair.lag:,} bytes behind"
        if pair.pauses:
            text += f", writers waited {pair.pauses[-1]:g} ms"
        if pair.failures:
            text += f", {pair.failures} failures (see the servers' logs)"
        print(text)
    if name in _NEXT and status:
        print(_NEXT[name])


_NEXT = {
    "run": "next: escala reshard cutover (or abort)",
    "cutover": "next: escala reshard complete (or reverse)",
    "reverse": "next: escala reshard run (or abort)",
}

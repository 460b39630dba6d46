"""The `escala` command. Exit codes: 0 well, 1 failed while running, 2 wrong configuration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from escala import __version__
from escala.errors import ConfigError

_COMMANDS = {
    "serve": ("escala.cli.serve", "run a gateway from a stack file"),
    "check": ("escala.cli.check", "say whether a stack file is right, without starting anything"),
    "show": ("escala.cli.show", "print a stack file as Python, JSON or its JSON Schema"),
    "reshard": ("escala.cli.reshard", "move slots to other shards while everything goes on"),
    "demo": ("escala.cli.demo.run", "a small shop under real traffic and faults, with and without"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` default to those of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name in _COMMANDS:
        return _run(name, given[1:])
    if name in ("--version", "-V"):
        print(f"escala {__version__}")
        return 0
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    wrong = f"escala: no command {name!r}\n\n" if name else ""
    print(f"{wrong}{_usage()}", file=sys.stderr)
    return 2


def _run(name: str, arguments: Sequence[str]) -> int:
    try:
        return int(import_module(_COMMANDS[name][0]).main(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("escala"):
            raise
        extra = {"demo": "demo", "reshard": "serve,postgres"}.get(name, "serve")
        print(f'escala {name} needs {error.name}: pip install "escala[{extra}]"', file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()  # who read our output has gone: there is no one to tell
        return 1
    return 2


def _usage() -> str:
    lines = ["usage: escala COMMAND [ARGUMENTS]", ""]
    lines += [f"  {name:<7} {text}" for name, (_, text) in _COMMANDS.items()]
    lines += ["", "escala COMMAND --help tells the arguments of each."]
    return "\n".join(lines)

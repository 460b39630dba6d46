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
    "demo": ("escala.cli.demo.run", "a small shop under real traffic and faults, with and without"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` default to those of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--version"], ["-V"]):
        print(f"escala {__version__}")
        return 0
    if not given or given[0] in ("-h", "--help"):
        print(_usage())
        return 0 if given else 2
    command = _COMMANDS.get(given[0])
    if command is None:
        print(f"escala: no command {given[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    try:
        run = import_module(command[0]).main
        return int(run(given[1:]))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("escala"):
            raise
        print(f'escala {given[0]} needs {error.name}: pip install "escala[serve]"', file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _usage() -> str:
    lines = ["usage: escala COMMAND [ARGUMENTS]", ""]
    lines += [f"  {name:<7} {text}" for name, (_, text) in _COMMANDS.items()]
    lines += ["", "escala COMMAND --help tells the arguments of each."]
    return "\n".join(lines)

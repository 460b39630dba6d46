"""`escala show stack.yaml`: the same stack as Python source, as JSON, or its schema."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from escala.gateway.stack_file import load_stack, stack_schema


def main(arguments: Sequence[str]) -> int:
    """Print a stack file in another form."""
    parser = argparse.ArgumentParser(
        prog="escala show", description="Print a stack file as code, as JSON, or its JSON Schema."
    )
    parser.add_argument("file", type=Path, nargs="?", help="the stack file; not for the schema")
    parser.add_argument("--as", dest="form", choices=["python", "json", "schema"], default="python")
    options = parser.parse_args(arguments)
    if options.form == "schema":
        sys.stdout.write(json.dumps(stack_schema(), indent=2) + "\n")
        return 0
    if options.file is None:
        parser.error(f"--as {options.form} needs a stack file")
    stack = load_stack(options.file)
    sys.stdout.write(stack.to_python() if options.form == "python" else stack.to_json())
    return 0

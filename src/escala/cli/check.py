"""`escala check stack.yaml`: is the file right? Reads it, starts nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from escala.errors import ConfigError
from escala.gateway.stack_file import load_stack


def main(arguments: Sequence[str]) -> int:
    """Check a stack file; every problem is one line `file:line:column: path: what is wrong`."""
    parser = argparse.ArgumentParser(
        prog="escala check", description="Check a stack file without starting anything."
    )
    parser.add_argument("file", type=Path, help="the stack file, such as stack.yaml")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    options = parser.parse_args(arguments)
    warnings: list[str] = []
    problems: list[str] = []
    summary = ""
    try:
        stack = load_stack(options.file, warn=lambda problem: warnings.append(str(problem)))
        summary = f"{len(stack.routes)} route(s), {len(stack.upstreams)} upstream(s)"
    except ConfigError as error:
        problems.extend(error.problems)
    if options.json:
        print(json.dumps({"ok": not problems, "problems": problems, "warnings": warnings}))
    else:
        for line in (*problems, *(f"warning: {warning}" for warning in warnings)):
            print(line, file=sys.stderr)
        if not problems:
            print(f"{options.file}: right ({summary})")
    return 2 if problems else 0

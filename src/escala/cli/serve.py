"""`escala serve stack.yaml`: the gateway, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from escala.gateway.supervisor import Supervisor


def main(arguments: Sequence[str]) -> int:
    """Serve a stack file; 2 when it is wrong or an address is taken, 1 after an unclean drain."""
    parser = argparse.ArgumentParser(
        prog="escala serve",
        description="Run the gateway of a stack file. SIGHUP reloads it, SIGTERM drains and stops.",
    )
    parser.add_argument("file", type=Path, help="the stack file, such as stack.yaml")
    parser.add_argument("--watch", action="store_true", help="reload when the file changes")
    parser.add_argument(
        "--explain", action="store_true", help="say in headers how each response came about"
    )
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    async def serve() -> int:
        supervisor = Supervisor(
            options.file, tell=tell, watch=options.watch, explain=options.explain
        )
        return await supervisor.run()

    return asyncio.run(serve())

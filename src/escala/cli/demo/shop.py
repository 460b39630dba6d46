"""The shop's three instances on one database, and how the demo hurts them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from escala.cli.demo.child import Child
from escala.cli.demo.http_client import Client
from escala.cli.demo.ports import free_port
from escala.errors import ConfigError, Unavailable

INSTANCES = 3
_OK = 200
# The shop stands for other machines: it yields to the gateway and to the load generator, which
# would not share a core with it in real life. The same in both halves.
_NICE = 5


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """How many pages the shop was asked for, and how many of these it read from its database."""

    asked: int = 0
    read: int = 0


def find_shop(given: Path | None) -> Path:
    """The directory of the shop package: the given one, the source tree's, the installed one."""
    if given is not None:
        places = [given]
    else:
        package = Path(__file__).resolve().parents[2]
        places = [
            package.parents[1] / "examples" / "shop",
            Path.cwd() / "examples" / "shop",
            package / "_examples" / "shop",
        ]
    for place in places:
        if (place / "__main__.py").is_file():
            return place.resolve()
    what = f"--shop {given}" if given is not None else "examples/shop"
    msg = f"{what}: no shop there (a directory with __main__.py); give its place with --shop DIR"
    raise ConfigError(msg)


class Shop:
    """Three processes of the shop at `place`, on a database freshly filled.

    `plain`: without the shop's own cache and write-behind.
    """

    def __init__(self, place: Path, work: Path, *, plain: bool = False) -> None:
        self._name, self._database = place.name, work / "shop.sqlite3"
        self._environment = {
            "SHOP_FAULTS": "1",
            "SHOP_PLAIN": "1" if plain else "0",
            "PYTHONPATH": os.pathsep.join([str(place.parent), os.environ.get("PYTHONPATH", "")]),
        }
        self._pages = Pages()  # of instances that are no more
        self.ports = [free_port() for _ in range(INSTANCES)]
        self.instances = [
            Child(
                f"shop instance {number}",
                [
                    *(sys.executable, "-m", self._name),
                    *("--port", str(port), "--db", str(self._database)),
                ],
                ready=(port, "/health"),
                log=work / f"shop-{number}.log",
                environment=self._environment,
                nice=_NICE,
            )
            for number, port in enumerate(self.ports, 1)
        ]

    @property
    def database(self) -> Path:
        """The database file that all instances share."""
        return self._database

    async def start(self) -> None:
        """Fill a fresh database and start all instances."""
        for file in self._database.parent.glob(f"{self._database.name}*"):
            file.unlink()
        command = [sys.executable, "-m", f"{self._name}.seed", str(self._database)]
        seeding = await asyncio.to_thread(
            subprocess.run,
            command,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if seeding.returncode:
            last = seeding.stderr.strip().rpartition("\n")[2]
            raise Unavailable(f"the shop's database could not be filled: {last}")
        await asyncio.gather(*(instance.start() for instance in self.instances))

    async def stop(self) -> None:
        """Stop all instances."""
        await asyncio.gather(*(instance.stop() for instance in self.instances))

    async def kill(self, number: int) -> None:
        """SIGKILL to instance `number` (from 1)."""
        self._pages = await self._with(self._pages, self.ports[number - 1])
        self.instances[number - 1].kill()

    async def pages(self) -> Pages:
        """What all instances say of their pages, the killed one included."""
        pages = self._pages
        for port in self.ports:
            pages = await self._with(pages, port)
        return pages

    async def _with(self, pages: Pages, port: int) -> Pages:
        client = Client(port, timeout=5.0)
        try:
            reply = await client.ask("GET", "/stats")
        finally:
            await client.close()
        if reply.status != _OK:
            return pages
        more = msgspec.json.decode(reply.body, type=Pages)
        return Pages(asked=pages.asked + more.asked, read=pages.read + more.read)

    async def fault(self, number: int, *, slow: float = 0.0, errors: float = 0.0) -> None:
        """Make instance `number` (from 1) slow or wrong; without either, well again."""
        client = Client(self.ports[number - 1], timeout=5.0)
        try:
            body = msgspec.json.encode({"slow": slow, "errors": errors})
            await client.ask("POST", "/faults", body)
        finally:
            await client.close()

"""One half of the demo: a fresh shop, a gateway in front, the planned traffic, the schedule."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from escala.cli.demo import orders, stack_file, views
from escala.cli.demo.chaos import chaos
from escala.cli.demo.child import Child
from escala.cli.demo.http_client import Client
from escala.cli.demo.load import PATIENCE, Load
from escala.cli.demo.orders import Orders
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.phases import Phase
from escala.cli.demo.plan import Planned
from escala.cli.demo.ports import free_port
from escala.cli.demo.prices import Editor, Prices
from escala.cli.demo.progress import Progress
from escala.cli.demo.shop import Pages, Shop
from escala.cli.demo.views import Views
from escala.cli.demo.watch import Event, Sample, Watch

_LEAD = 0.3  # seconds between all being ready and the first request


class Half(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was seen in one half."""

    name: str
    policies: frozenset[str] = frozenset()
    phases: tuple[Phase, ...] = ()
    outcomes: list[Outcome] = []
    samples: list[Sample] = []
    events: list[Event] = []
    orders: Orders = Orders()
    pages: Pages = Pages()
    prices: Prices = Prices()
    views: Views = Views()
    most_outstanding: int = 0


async def run_half(
    name: str,
    *,
    place: Path,
    work: Path,
    phases: tuple[Phase, ...],
    plan: Sequence[Planned],
    workers: int,
    progress: Progress,
) -> Half:
    """Run it; whatever happens, no process of it is left behind."""
    shop = Shop(place, work, plain=name == "baseline")
    listen, admin = free_port(), free_port()
    file = work / f"{name}.yaml"
    policies = stack_file.write(
        place / f"{name}.yaml",
        file,
        listen=listen,
        admin=admin,
        targets=shop.ports,
        workers=workers,
    )
    gateway = Child(
        f"escala serve {name}.yaml",
        [sys.executable, "-m", "escala", "serve", "--explain", str(file)],
        ready=(admin, "/readyz"),
        log=work / f"{name}.log",
    )
    async with AsyncExitStack() as stack:
        # Should stopping itself be interrupted, what is left is killed.
        for child in (gateway, *shop.instances):
            stack.callback(child.kill)
        stack.push_async_callback(shop.stop)
        progress.note(f"{name}: starting the shop and the gateway")
        await shop.start()
        stack.push_async_callback(gateway.stop)
        await gateway.start()
        client, status = Client(listen, timeout=PATIENCE), Client(admin, timeout=1.0)
        instances = [Client(port, timeout=1.0) for port in shop.ports]
        for each in (client, status, *instances):
            stack.push_async_callback(each.close)

        start = asyncio.get_running_loop().time() + _LEAD
        load = Load(plan, client)
        watch = Watch(status, start)
        editor = Editor(shop.database, plan, client, instances, start)
        progress.begin(name, phases, load.outcomes, start)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = (watch.run(), progress.run(), editor.run())
                beside = [tasks.create_task(work) for work in running]
                breaking = tasks.create_task(chaos(shop, phases, start, progress.phase))
                await load.run(start)
                await breaking
                for task in beside:
                    task.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        await watch.look()
        pages = await shop.pages()
    return Half(
        name=name,
        policies=policies,
        phases=phases,
        outcomes=load.outcomes,
        samples=watch.samples,
        events=watch.events,
        orders=orders.compare(shop.database, load.outcomes),
        pages=pages,
        prices=editor.found(load.outcomes),
        views=views.compare(shop.database, load.outcomes),
        most_outstanding=load.most_outstanding,
    )

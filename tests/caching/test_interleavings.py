"""After `delete` has returned no one gets what was before: 10,000 random interleavings, none stale.

Half of them are tasks on a loop that shuffles, half are threads of which a seed chooses whose
turn it is; both are stopped at every wait: in loads, in the store, in parks. `scene` says what is
checked.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.caching.scene import Plan, Scene, Step, swallowed
from tests.caching.stepped_threads import SteppedThreads

from escala.kernel.runtime import colours, drive
from escala.testing import VirtualRuntime

EXAMPLES, SEEDS = 140, 3  # in each of 24 places: 10,080

READS = ("get", "get", "memo", "memo", "entry", "look", "look", "batch", "refresh")
WRITES = ("write", "write", "write", "set", "set", "through", "delete", "expire", "expire")
TIMES: tuple[dict[str, Any], ...] = (
    {"l1_ttl": "50ms"},
    {"stale_while_revalidate": "1s"},
    {"stale_if_error": "2s"},
    {"stale_while_revalidate": "1s", "stale_if_error": "2s", "soft_timeout": "20ms"},
    {"refresh_early": True, "hard_timeout": "200ms", "wait": "100ms"},
    {"stale_if_error": "2s", "soft_timeout": "30ms", "wait": "50ms", "l1_ttl": "100ms"},
)
PLACES: dict[str, dict[str, Any]] = {
    "l1": {"nodes": 1, "second": False},
    "l1+l2": {"nodes": 1, "second": True},
    "two nodes": {"nodes": 2, "second": True},
}

steps = st.lists(
    st.tuples(
        st.sampled_from(READS + WRITES + ("cancel",)),
        st.sampled_from((1, 1, 1, 2)),
        st.integers(0, 1),
        st.sampled_from((0.0, 0.0, 0.01, 0.05, 0.1, 0.4, 0.7)),
    ),
    min_size=6,
    max_size=18,
)
plans = st.tuples(st.sampled_from(TIMES), st.booleans(), st.booleans())

kinds = pytest.mark.parametrize("kind", ["key", "tag", "namespace", "clear"])
places = pytest.mark.parametrize("place", list(PLACES))
thorough = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], deadline=None
)


def judged(scene: Scene) -> None:
    assert not scene.stale, "\n".join([*scene.log, f"STALE: {scene.stale}"])


@kinds
@places
@thorough
@given(script=steps, how=plans, seed=st.integers(1, 2**20))
def test_tasks(
    kind: str, place: str, script: list[Step], how: tuple[dict[str, str], bool, bool], seed: int
) -> None:
    times, breaks, fails = how
    plan = Plan(kind, breaks=breaks, fails=fails, times=times, **PLACES[place])
    for each in range(seed, seed + SEEDS):
        world = VirtualRuntime(each)
        try:
            judged(world.run(_tasks(plan, world, script)))
        finally:
            world.close()


async def _tasks(plan: Plan, world: VirtualRuntime, script: list[Step]) -> Scene:
    scene = Scene(plan, world, world.rng, sync=False)
    readers: list[asyncio.Task[None]] = []
    writers: dict[int, list[tuple[float, Step]]] = defaultdict(list)

    async def later(at: float, what: str, key: int, node: int) -> None:
        await colours.loop.sleep(at)
        if what == "cancel":
            going = [task for task in readers if not task.done()]
            if going:
                world.rng.choice(going).cancel()
            return
        await scene.read(what, key, node)

    async def writing(steps: list[tuple[float, Step]]) -> None:
        for at, (what, key, node, _) in steps:
            await colours.loop.sleep(max(0.0, at - world.now()))
            await scene.write(what, key, node)

    at = 0.0
    for step in script:
        what, key, node, pause = step
        at += pause
        if what in WRITES:
            writers[key].append((at, (what, key, node % plan.nodes, 0.0)))
        else:
            readers.append(world.spawn(later(at, what, key, node % plan.nodes)))
    writes = [world.spawn(writing(each)) for each in writers.values()]
    for task in readers:
        await swallowed(task)
    for task in writes:
        await task
    await scene.settle()
    return scene


@kinds
@places
@thorough
@given(script=steps, how=plans, seed=st.integers(1, 2**20))
def test_threads(
    kind: str, place: str, script: list[Step], how: tuple[dict[str, str], bool, bool], seed: int
) -> None:
    times, breaks, fails = how
    plan = Plan(kind, breaks=breaks, fails=fails, times=times, **PLACES[place])
    for each in range(seed, seed + SEEDS):
        judged(_threads(plan, script, each))


def _threads(plan: Plan, script: list[Step], seed: int) -> Scene:
    stage = SteppedThreads(seed)
    with stage.on():
        scene = Scene(plan, stage, random.Random(seed), sync=True)
        writers: dict[int, list[tuple[float, Step]]] = defaultdict(list)

        def later(at: float, what: str, key: int, node: int) -> None:
            stage.wait(None, at)
            drive(scene.read(what, key, node))

        def writing(steps: list[tuple[float, Step]]) -> None:
            for at, (what, key, node, _) in steps:
                stage.wait(None, at - stage.now())
                drive(scene.write(what, key, node))

        at = 0.0
        for step in script:
            what, key, node, pause = step
            at += pause
            if what in WRITES:
                writers[key].append((at, (what, key, node % plan.nodes, 0.0)))
            elif what != "cancel":
                stage.spawn(partial(later, at, what, key, node % plan.nodes), f"{what} {key}")
        for each in writers.values():
            stage.spawn(partial(writing, each), "writer")
        stage.run()
        stage.spawn(lambda: drive(scene.settle()), "settle")
        stage.run()
    return scene

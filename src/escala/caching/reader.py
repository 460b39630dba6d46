"""Give callers what they want: from the first level, by a trip, or by waiting for another's."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from escala.caching.landing import NOTHING, Boarding, Landing
from escala.caching.levels import Levels
from escala.caching.pure.flight import Part
from escala.caching.pure.use import Use, use_of
from escala.caching.rules import Load, Rules
from escala.caching.trip import Trip, Want, under_way
from escala.kernel.context import deadline_variable
from escala.kernel.runtime import LoopRuntime, Runtime
from escala.resilience.spare_threads import SpareThreads

_MOST_THREADS = 16
_ROUNDS = 2  # of waiting for loads that an invalidation makes useless; then a caller loads itself
_NEVER = float("inf")
_LOOKED = "no one was asked for news"


class Reader:
    """What `get` does when the first level alone cannot say.

    On an event loop, loads run in tasks of their own: a caller who is cancelled disturbs neither
    the load nor the others who wait for it. A thread loads for itself, and hands to a spare
    thread what may go on behind its back.
    """

    def __init__(self, levels: Levels) -> None:
        self._levels, self._first = levels, levels.first
        self._threads = SpareThreads(_MOST_THREADS, name=f"escala-{levels.name}")

    async def serve(
        self, parts: Mapping[str, Hashable], load: Load, rules: Rules, runtime: Runtime
    ) -> dict[str, Landing]:
        """A landing for each key. `parts` says for each what the load is to be asked for."""
        self._listen()
        visit = Visit(self._levels, self._threads, parts, load, rules, runtime)
        landings, waiting = {}, visit.boards()
        try:
            visit.refresh([board for board in waiting if board.leads and board.serves])
            led = [board for board in waiting if board.leads and not board.serves]
            if led:
                started = {board.key: board for board in await visit.lead(led)}
                waiting = [started.get(board.key, board) for board in waiting]
            waiting.reverse()
            while waiting:
                board = waiting.pop()
                landings[board.key] = await visit.landing(board)
        finally:
            visit.leave(waiting)
        return landings

    def _listen(self) -> None:
        if self._levels.second is not None:
            self._levels.second.listen()

    async def renew(
        self, key: str, part: Hashable, load: Load, rules: Rules, runtime: Runtime
    ) -> Landing:
        """A landing of a load that begins now, whatever there is and whoever else is loading."""
        self._listen()
        visit = Visit(self._levels, self._threads, {key: part}, load, rules, runtime)
        [board] = await visit.lead([visit.own(key)], anew=True)
        return await visit.landing(board)

    async def look(self, key: str, rules: Rules, runtime: Runtime) -> Landing:
        """What there is without a load."""
        self._listen()
        levels, first = self._levels, self._first
        now = runtime.now()
        entry = first.find(key, now=now)
        use = Use.GONE if entry is None else use_of(entry, now=now, draw=1.0)
        if use is not Use.GONE and use is not Use.RESCUE:
            stale = entry is not None and now >= entry.fresh_until
            return Landing(entry, source="stale" if stale else "l1", why=_LOOKED if stale else "")
        if levels.second is None:
            return NOTHING
        since = first.look_up(key)
        entry = None
        try:
            found = await levels.second.read([key], 0.0, runtime)
            if found:
                entry = levels.read(key, found[0], rules, now=now)
        finally:
            if since is not None:
                first.found(entry, key, since, runtime.now())
        if entry is None or use_of(entry, now=now, draw=1.0) in (Use.GONE, Use.RESCUE):
            return NOTHING
        stale = now >= entry.fresh_until
        return Landing(entry, source="stale" if stale else "l2", why=_LOOKED if stale else "")


class Visit:
    """One call of `serve`."""

    __slots__ = ("_first", "_levels", "_load", "_parts", "_rules", "_runtime", "_threads")

    def __init__(  # noqa: PLR0917  what a call of `serve` knows
        self,
        levels: Levels,
        threads: SpareThreads,
        parts: Mapping[str, Hashable],
        load: Load,
        rules: Rules,
        runtime: Runtime,
    ) -> None:
        self._levels, self._first, self._threads = levels, levels.first, threads
        self._parts, self._load, self._rules, self._runtime = parts, load, rules, runtime

    def boards(self) -> list[Boarding]:
        """Ask the first level for all."""
        boards: list[Boarding] = []
        try:
            for key in self._parts:
                boards.append(self.board(key))  # noqa: PERF401  what came before an error counts
        except BaseException:
            self._leave(boards)
            raise
        return boards

    def board(self, key: str) -> Boarding:
        """Ask the first level. Raises `RecursionError` for a load that would wait for itself."""
        runtime = self._runtime
        board = self._first.board(
            key, now=runtime.now(), draw=self._levels.draw(), place=runtime.parker
        )
        if board.flight is not None and not board.serves and self._within(key):
            self._leave([board])
            raise self._recursion(key)
        if board.seat is not None:
            self._levels.tally.coalesced += 1
        return board

    def _within(self, key: str) -> bool:
        return any(trip.asks_for(self._first, key) for trip in under_way.get())

    def _recursion(self, key: str) -> RecursionError:
        return RecursionError(
            f"{self._levels.name}: the load of {key!r} asks this cache for {key!r}, and would "
            "wait for itself: ask the source"
        )

    def leave(self, boards: list[Boarding]) -> None:
        """Do not wait for these after all."""
        for board in boards:
            if board.seat is not None and board.flight is not None:
                self._first.leave(board.flight, board.seat)

    def _leave(self, boards: list[Boarding]) -> None:
        """Neither wait for these nor lead them."""
        self.leave(boards)
        for board in boards:
            if board.leads and board.flight is not None:
                self._first.give_up(board.flight)

    # Loading

    def refresh(self, boards: list[Boarding]) -> None:
        """Load behind the callers' backs; where there is no room for that, another may later."""
        if boards:
            trip = self._trip(boards, early=True)
            if not self._start(trip, awaited=False):
                trip.give_up()

    def own(self, key: str) -> Boarding:
        """Lead a flight of one's own, whoever else is loading. Raises `RecursionError`."""
        if self._within(key):
            raise self._recursion(key)
        flight = self._first.take_off(key)
        flight.began = self._runtime.now()
        return Boarding(key, Use.GONE, flight.variant, None, flight)

    async def lead(self, boards: list[Boarding], *, anew: bool = False) -> list[Boarding]:
        """Load what these lead; with seats if that goes on elsewhere, without if it is over."""
        times, runtime, first = self._rules.times, self._runtime, self._first
        trip = self._trip(boards, anew=anew)
        behind = times.soft_timeout is not None or times.stale_while_revalidate > 0
        if behind or isinstance(runtime, LoopRuntime):
            seated = []
            for board in boards:
                assert board.flight is not None  # noqa: S101  they lead
                seat = first.join(board.flight, runtime.parker())
                seated.append(board._replace(seat=seat, own=True))
            if self._start(trip):
                return seated
            for board in seated:
                assert board.flight is not None and board.seat is not None  # noqa: S101, PT018
                first.leave(board.flight, board.seat)
        await trip.run(runtime)
        return boards

    def _trip(self, boards: list[Boarding], *, early: bool = False, anew: bool = False) -> Trip:
        wants = [
            Want(board.key, self._parts[board.key], board.flight, early=early)
            for board in boards
            if board.flight is not None
        ]
        return Trip(self._levels, wants, self._load, self._rules, anew=anew)

    def _start(self, trip: Trip, *, awaited: bool = True) -> bool:
        """Run it beside the caller; False, and nothing happens, if there is no room for that."""
        runtime = self._runtime

        async def run() -> None:
            deadline_variable.set(_NEVER)  # the caller's own: others wait for this load as well
            if not awaited:
                under_way.set(())
            await trip.run(runtime)

        def ended(_: None, error: BaseException | None) -> None:
            if error is not None:
                trip.give_up()  # it may have been cancelled before it began

        return runtime.beside(run, ended, self._threads.hand_over) is not None

    # Waiting

    async def landing(self, board: Boarding) -> Landing:
        """What this caller gets, however long it takes."""
        rounds = 0
        while True:
            if board.entry is not None and board.serves:
                return self._served(board)
            landing = await self._arrived(board)
            if landing is not None:
                return landing
            rounds += 1
            # What came was out of date when it came: ask anew.
            board = self.board(board.key) if rounds < _ROUNDS else self.own(board.key)
            if board.leads:
                if board.serves:
                    self.refresh([board])
                else:
                    [board] = await self.lead([board])

    def _served(self, board: Boarding) -> Landing:
        if board.use is Use.FRESH or board.use is Use.EARLY:
            return Landing(board.entry, source="l1")
        why = "asking failed a moment ago" if board.use is Use.PAUSED else "news is on its way"
        return Landing(board.entry, source="stale", why=why)

    async def _arrived(self, board: Boarding) -> Landing | None:
        """Wait for the flight; None if what it brought is not for this caller."""
        first, flight, seat, led = self._first, board.flight, board.seat, 0
        assert flight is not None  # noqa: S101  it waits for one
        while seat is not None:
            soft = self._rules.times.soft_timeout if board.entry is not None else None
            try:
                await seat.place.park(soft or self._patience(board))
            except BaseException:
                first.leave(flight, seat)
                raise
            if soft is not None and seat.part is Part.WAIT:
                landing = self._impatient(board.key)
                if landing is not None:
                    first.leave(flight, seat)
                    return landing
                board = board._replace(entry=None)
                first.stay(seat, self._runtime.parker())
                continue
            part = first.part(flight, seat)
            if part is Part.TAKE:
                break
            if part is Part.WAIT:
                following = first.overtake(flight)
                if following is None:
                    return None
                flight = following
                flight.began = self._runtime.now()
                board = board._replace(flight=flight, mark=flight.variant)
            led += 1
            if led > _ROUNDS:  # whatever cancels its loads would cancel the next one too
                first.give_up(flight)
                name = self._levels.name
                raise RuntimeError(f"{name}: the load of {board.key!r} was cancelled {led} times")
            [board] = await self.lead([board._replace(seat=None)])
            seat = board.seat
        landing = flight.result
        if landing is None or (landing.late and seat is not None and not board.own):
            return None
        return landing if first.fits(landing, flight, board.mark) else None

    def _patience(self, board: Boarding) -> float | None:
        """How long this caller waits: for a load of its own as long as it takes."""
        return None if board.own else self._rules.times.wait

    def _impatient(self, key: str) -> Landing | None:
        """The stale value, if nothing has deleted it meanwhile."""
        now = self._runtime.now()
        entry = self._first.find(key, now=now)
        if entry is None or use_of(entry, now=now, draw=1.0) is Use.GONE:
            return None
        return Landing(entry, source="stale", why="news takes longer than soft_timeout")

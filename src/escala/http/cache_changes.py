"""What changes stored answers: unsafe requests, and whoever runs the service."""

from __future__ import annotations

from collections.abc import Sequence

from escala.caching.value_store import Signal
from escala.http.pure.invalidation import Effect
from escala.http.second_answers import SecondAnswers
from escala.http.shared_answers import SharedAnswers
from escala.kernel.runtime import Runtime


class CacheChanges:
    """Lets go of answers here, and with a second level everywhere."""

    def __init__(self, shared: SharedAnswers, second: SecondAnswers | None) -> None:
        self._shared, self._second = shared, second

    async def make(self, keys: Sequence[bytes], effect: Effect, runtime: Runtime) -> bool:
        """Do it for these keys; False if others have yet to hear of it.

        A caller who is cancelled stops waiting, and it goes on.
        """
        self._here(keys, effect)
        second = self._second
        if second is None:
            return True
        return await second.finish(lambda: self._everywhere(second, keys, effect, runtime), runtime)

    def begin(self, keys: Sequence[bytes], effect: Effect, runtime: Runtime) -> None:
        """The same, without waiting for the others to hear of it."""
        self._here(keys, effect)
        second = self._second
        if second is not None:
            second.send(lambda: self._everywhere(second, keys, effect, runtime), runtime)

    async def clear(self, runtime: Runtime) -> bool:
        """Let go of everything; False if others have yet to hear of it."""
        self._shared.clear()
        if self._second is None:
            return True
        try:
            return await self._second.invalidate([Signal("all")], runtime)
        finally:
            self._shared.clear()

    async def _everywhere(
        self, second: SecondAnswers, keys: Sequence[bytes], effect: Effect, runtime: Runtime
    ) -> bool:
        soft = effect is Effect.DOUBT
        try:
            return await second.invalidate(
                [Signal("key", key.decode("latin-1"), soft) for key in keys], runtime
            )
        finally:
            self._here(keys, effect)  # what was taken over from there until now

    def _here(self, keys: Sequence[bytes], effect: Effect) -> None:
        for key in keys:
            self._shared.affect(key, effect)

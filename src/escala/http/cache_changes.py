"""What changes stored answers: unsafe requests, and whoever runs the service."""

from __future__ import annotations

from collections.abc import Sequence

from escala.caching.value_store import Signal
from escala.http.pure.invalidation import Effect
from escala.http.second_answers import SecondAnswers
from escala.http.shared_answers import SharedAnswers
from escala.kernel.runtime import Runtime


class CacheChanges:
    """Lets go of answers here, and with a second level everywhere.

    From the first moment nothing is read from the second level before that has been told. So
    what is loaded here from then on, or taken from there, is from after the change.
    """

    def __init__(self, shared: SharedAnswers, second: SecondAnswers | None) -> None:
        self._shared, self._second = shared, second

    async def make(self, keys: Sequence[bytes], effect: Effect, runtime: Runtime) -> bool:
        """Do it for these keys, and tell all; False if others have yet to hear of it."""
        self._begin(keys, effect)
        return self._second is None or await self._second.tell(runtime)

    def leave(self, keys: Sequence[bytes], effect: Effect, runtime: Runtime) -> None:
        """The same without waiting until others have been told."""
        self._begin(keys, effect)
        if self._second is not None:
            self._second.tell_later(runtime)

    async def clear(self, runtime: Runtime) -> bool:
        """Let go of everything; False if others have yet to hear of it."""
        if self._second is not None:
            self._second.owe([Signal("all")])
        self._shared.clear()
        return self._second is None or await self._second.tell(runtime)

    def _begin(self, keys: Sequence[bytes], effect: Effect) -> None:
        if self._second is not None:
            soft = effect is Effect.DOUBT
            self._second.owe([Signal("key", key.decode("latin-1"), soft) for key in keys])
        for key in keys:
            self._shared.affect(key, effect)

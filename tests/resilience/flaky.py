"""Functions that fail as they are told to, for the tests of what surrounds them."""

from __future__ import annotations

import random
from collections.abc import Callable


class Flaky:
    """A function that fails in the given ways, one after the other, and then answers."""

    def __init__(self, *failures: BaseException | object) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, BaseException):
                raise failure
            return failure
        return "well"

    async def awaited(self) -> object:
        return self()


class Always(Flaky):
    """A function that fails for ever."""

    def __init__(self, make: Callable[[], Exception] = ConnectionError) -> None:
        super().__init__()
        self.make = make

    def __call__(self) -> object:
        self.calls += 1
        raise self.make()


class Drawn(random.Random):
    """Jitter that always draws the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


LONGEST = Drawn(1.0)


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])

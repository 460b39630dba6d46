"""Ways to choose the target of a call, by the names that `stack.yaml` knows them by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from escala.balancing.pure.choice import Choice
from escala.errors import ConfigError
from escala.kernel import registry

BALANCERS = "escala.balancers"


class Balancer(ABC):
    """How an `Upstream` spreads its calls; `kind` is its name in `stack.yaml`.

    A balancer holds options and no state. Each time the set of targets that may be picked
    changes it makes a `Choice` over the new set. A plugin is a subclass and a line in its
    package's entry points, group `escala.balancers`.
    """

    kind: ClassVar[str]

    @abstractmethod
    def over(self, weights: Sequence[int], in_flight: Sequence[int]) -> Choice:
        """A choice among so many targets, of these weights and with these calls in flight."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def balancer(name: str) -> Balancer:
    """The balancer of this `stack.yaml` name; `ConfigError` when no package provides it."""
    found = registry.load(BALANCERS, name)
    if not isinstance(found, type) or not issubclass(found, Balancer):
        raise ConfigError(f"{name!r} in {BALANCERS} is no balancer class: {found!r}")
    return found()

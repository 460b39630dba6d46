"""Ways to choose the target of a call, by the names that `stack.yaml` knows them by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import msgspec

from escala.balancing.pure.choice import Choice, Member
from escala.errors import ConfigError
from escala.kernel import registry
from escala.kernel.scalar import Scalar

BALANCERS = "escala.balancers"


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a balancer that has none."""


class Balancer(ABC):
    """How an `Upstream` spreads its calls; `kind` is its name in `stack.yaml`.

    A balancer holds `options` and no state of the calls. Each time the set of targets that may be
    picked changes it makes a `Choice` over the new set. A plugin is a subclass and a line in its
    package's entry points, group `escala.balancers`; its `Options` are its fields in `stack.yaml`
    and the keyword arguments of its constructor.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[msgspec.Struct]] = NoOptions
    options: Any = NoOptions()

    @abstractmethod
    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> Choice:
        """A choice among these targets; `draw` gives random numbers from 0 up to 1."""

    def check(self, weights: Sequence[int]) -> None:
        """Refuse targets of these weights with a `ConfigError`, before anything changes."""
        del weights

    @classmethod
    def build(cls, options: Any) -> Self:  # noqa: ANN401  each balancer's own
        """Make the balancer from its `Options`, as `stack.yaml` does."""
        return cls(**msgspec.structs.asdict(options))

    def __repr__(self) -> str:
        told = ", ".join(
            f"{field.name}={(value.text if isinstance(value, Scalar) else value)!r}"
            for field in msgspec.structs.fields(self.options)
            if (value := getattr(self.options, field.name)) != field.default
        )
        return f"{type(self).__name__}({told})"


def balancer_class(name: str) -> type[Balancer]:
    """The class of this `stack.yaml` name; `ConfigError` when no package provides it."""
    found = registry.load(BALANCERS, name)
    if not isinstance(found, type) or not issubclass(found, Balancer):
        raise ConfigError(f"{name!r} in {BALANCERS} is no balancer class: {found!r}")
    return found


def balancer(name: str) -> Balancer:
    """A balancer of this `stack.yaml` name, with its default options. Raises `ConfigError`."""
    return balancer_class(name)()

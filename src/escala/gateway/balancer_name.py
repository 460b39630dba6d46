"""The name of a balancing algorithm, as installed packages provide them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from escala.balancing.balancer import BALANCERS
from escala.kernel import registry
from escala.kernel.scalar import Scalar
from escala.kernel.wrong_value import WrongValue

DEFAULT = "round_robin"


class BalancerName(Scalar, str):
    """A name in the entry-point group `escala.balancers`."""

    __slots__ = ()
    expected: ClassVar[str] = "the name of a balancer"

    def __new__(cls, value: object) -> Self:
        """Read the name; `WrongValue` if no package provides it."""
        known = registry.names(BALANCERS)
        if value != DEFAULT and value not in known:
            raise WrongValue(f"one of the balancers {', '.join(known)}", value)
        return str.__new__(cls, value)

    @property
    def text(self) -> str:
        """As it was written."""
        return str(self)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """One of the installed names."""
        return {"enum": sorted({DEFAULT, *registry.names(BALANCERS)})}

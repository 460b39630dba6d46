"""The schedule of a half: what happens to the shop, when, and how much traffic comes then."""

from __future__ import annotations

from dataclasses import dataclass

# Name, share of the half's time, times the calm traffic, what the terminal says.
_SHARES = (
    ("calm", 0.20, 1.0, "all three instances are well"),
    ("killed", 0.14, 1.0, "SIGKILL to instance 1"),
    ("back", 0.08, 1.0, "instance 1 is started again"),
    ("slow", 0.14, 1.0, "instance 2 turns slow"),
    ("errors", 0.14, 1.0, "instance 3 answers errors"),
    ("well", 0.10, 1.0, "all is well again"),
    ("surge", 0.14, 5.0, "five times the traffic"),
    ("after", 0.06, 1.0, "the traffic is as before"),
)
CALM = ("calm", "well")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of the schedule; seconds count from the first request."""

    name: str
    start: float
    end: float
    times: float
    says: str

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.start


def schedule(seconds: float) -> tuple[Phase, ...]:
    """The phases of a half that lasts `seconds`."""
    phases = []
    start = 0.0
    for name, share, times, says in _SHARES:
        end = start + share * seconds
        phases.append(Phase(name=name, start=start, end=end, times=times, says=says))
        start = end
    return tuple(phases)


def at(phases: tuple[Phase, ...], moment: float) -> Phase:
    """The phase that a moment belongs to; before and after the schedule, the nearest one."""
    return next((phase for phase in phases if moment < phase.end), phases[-1])

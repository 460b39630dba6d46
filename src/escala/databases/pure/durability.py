"""What a cluster's synchronous settings can keep when its primary is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from escala.databases.pure.synchronous_names import ANYONE, quoted, read_names
from escala.errors import ConfigError

_COMMIT = {
    "off": "a commit is acknowledged before any disk has it",
    "local": "a commit is acknowledged before any standby has it",
    "remote_write": "a commit is acknowledged while a standby has it in memory only",
}


class SyncSettings(NamedTuple):
    """The settings of a primary that decide it, as it shows them, and its own name."""

    names: str
    """`synchronous_standby_names`."""
    commit: str
    """`synchronous_commit`."""
    own: str
    """`cluster_name`: a list may name the node itself, so that it can be the same on all."""


class Durability(NamedTuple):
    """Whether an acknowledged commit outlives the primary, and what a failover needs for that.

    If `keeps`, then every acknowledged commit is on `copies` of the standbys `among`. Any `needed`
    of them have one with all of these commits, and it is the one that has the most. `problems`
    says why settings cannot keep it, and what to set.
    """

    copies: int
    among: tuple[str, ...]
    needed: int
    problems: tuple[str, ...]

    @property
    def keeps(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems

    def __str__(self) -> str:
        if not self.keeps:
            return "; ".join(self.problems)
        listed = ", ".join(self.among)
        return (
            f"every acknowledged commit is on {self.copies} of the standbys {listed}; "
            f"a failover needs to see {self.needed} of them"
        )


def judge(settings: SyncSettings, standbys: Sequence[str]) -> Durability:
    """What these settings can keep; `standbys` are the names of those a failover can choose from.

    >>> print(judge(SyncSettings("ANY 1 (n1, n2)", "on", "n0"), ["n1", "n2"]))
    every acknowledged commit is on 1 of the standbys n1, n2; a failover needs to see 2 of them
    >>> print(judge(SyncSettings("", "on", "n0"), ["n1", "n2"]))
    no standby has to have a commit: set synchronous_standby_names = 'ANY 1 (n1, n2)'
    """
    own = settings.own.lower()
    known = [name.lower() for name in standbys]
    advice = _advice(standbys)
    problems = []
    if (why := _COMMIT.get(settings.commit)) is not None:
        problems.append(f"{why}: set synchronous_commit = on")
    try:
        said = read_names(settings.names)
    except ConfigError as error:
        return Durability(0, (), 0, (*problems, str(error)))
    if said is None:
        problems.append(f"no standby has to have a commit: {advice}")
        return Durability(0, (), 0, tuple(problems))
    among = tuple(dict.fromkeys(name for name in said.names if name != own))
    needed = len(among) - said.copies + 1
    if ANYONE in among:
        problems.append(f"'*' counts whoever streams, so no one knows who has a commit: {advice}")
    elif needed < 1:
        problems.append(
            f"no commit ever ends: {said.copies} of {len(among)} standbys have to have it: {advice}"
        )
    elif twice := sorted({name for name in among if known.count(name) > 1}):
        problems.append(
            f"two standbys are called {twice[0]!r}: give each a cluster_name of its own"
        )
    elif (found := len(set(among) & set(known))) < needed:
        listed = ", ".join(among)
        problems.append(
            f"a failover needs to see {needed} of the standbys {listed}, and the database's URL "
            f"leads to {found} of them: add the others to it, or {advice}"
        )
    return Durability(said.copies, among, needed, tuple(problems))


def _advice(standbys: Sequence[str]) -> str:
    if not standbys:
        return "add a standby, and name it in synchronous_standby_names"
    listed = ", ".join(map(quoted, standbys))
    return f"set synchronous_standby_names = 'ANY 1 ({listed})'"

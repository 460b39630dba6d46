"""How policies reach a store that runs scripts, whatever driver it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from escala.kernel.registry import load
from escala.kernel.runtime import Runtime
from escala.stores.store_scheme import store_scheme

LINKS = "escala.links"

Word: TypeAlias = str | bytes | int | float


class ScriptLink(Protocol):
    """A store in which a script runs as one step. One object serves threads and event loops.

    An entry point in the group `escala.links` names the class for a URL scheme; it is made as
    `Class(url)`, which does no I/O.
    """

    async def run(
        self, script: str, keys: Sequence[Word], args: Sequence[Word], runtime: Runtime
    ) -> Any:  # noqa: ANN401  whatever the script answers: bytes, int, None or a list of those
        """Run a script and return its answer.

        Raises `StoreUnavailable` when the store does not answer in time or answers with an error,
        `DeadlineExceeded` when the caller's own time is up before, and `WouldBlock` for a sync
        caller inside a running event loop. A script whose answer did not come may have run, and
        after a lost connection it may run twice: write it so that this does no harm.
        """
        ...

    def close(self) -> None:
        """Let go of the connections; may be called twice, and a later `run` connects anew."""
        ...


def open_link(url: str) -> ScriptLink:
    """The link for a store's URL, such as "redis://localhost"; no I/O yet.

    Raises `ConfigError` when no installed package opens such a URL.
    """
    link: ScriptLink = load(LINKS, store_scheme(url))(url)
    return link

"""Which of many targets one client talks to, so that each is known to as many as any other."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def subset(names: Sequence[str], size: int, client: int | str) -> tuple[int, ...]:
    """The places in `names` of at most `size` targets for this client, in the order of `names`.

    Deterministic subsetting ("Site Reliability Engineering", O'Reilly 2016, chapter 20): clients
    are dealt with in rounds of `len(names) // size`; each round has an order of its own, and each
    of its clients takes the next `size` targets of it. So clients numbered 0, 1, 2, ... spread
    evenly: after any number of whole rounds the targets differ by few clients. A client that is
    a text stands at a place drawn by its hash, which is even only on average.

    The order of a round is by hash, where the book shuffles: a target that comes or goes then
    changes at most one target of a client, as long as the number of clients in a round stays.
    """
    if size >= len(names):
        return tuple(range(len(names)))
    dealt = len(names) // size
    number = client if isinstance(client, int) else _digest(client)
    turn, place = divmod(number, dealt)
    order = sorted(range(len(names)), key=lambda at: (_digest(f"{turn} {names[at]}"), at))
    return tuple(sorted(order[place * size : (place + 1) * size]))


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

"""What travels for a page of a sorted answer, and what an average of averages would say."""

from __future__ import annotations

from collections.abc import Iterator

from docs.plots.drawing.figure import Figure
from escala.databases.pure.groups import Groups, Kind, Part
from escala.databases.pure.merge import Merge, SortKey

PAGE = 20
MEANS = (10.0, 20.0, 30.0, 40.0)  # of what is averaged, shard by shard


def draw(figure: Figure) -> None:
    """A page far down is dear; and shards of unequal size make an average of averages wrong."""
    rows = figure.panel("LIMIT 20 OFFSET n", x="n", y="rows sent by all shards")
    offsets = range(0, 1001, 50)
    for shards in (4, 16):
        rows.line(offsets, [_sent(shards, offset) for offset in offsets], f"{shards} shards")
    rows.line(offsets, [16 * PAGE for _ in offsets], "16 shards, WHERE id > last")
    mean = figure.panel("4 shards", x="% of the rows on the first", y="average")
    shares = range(25, 98, 3)
    mean.line(shares, [_average(share / 100) for share in shares], "merged sums and counts")
    mean.line(shares, [sum(MEANS) / len(MEANS) for _ in shares], "average of averages")
    mean.height = (0, 40)


def _sent(shards: int, offset: int) -> int:
    sent = 0

    def rows(first: int) -> Iterator[tuple[int]]:
        nonlocal sent
        for number in range(offset + PAGE):  # what a shard is asked for
            sent += 1
            yield (number * shards + first,)

    answers = [list(rows(first)) for first in range(shards)]
    merge = Merge(order=(SortKey(0),), offset=offset, limit=PAGE)
    found = [row[0] for row in merge.rows(answers)]
    assert found == list(range(offset, offset + PAGE))  # noqa: S101  the picture is of a right answer
    return sent


def _average(share: float) -> float:
    first = round(share * 10_000)
    counts = [first, *[(10_000 - first) / 3] * 3]
    rows = [(mean, mean * count, count) for mean, count in zip(MEANS, counts, strict=True)]
    groups = Groups(parts=(Part(Kind.AVG, 0, total=1, count=2),))
    ((average, *_),) = Merge(groups=groups).rows([[row] for row in rows])
    return float(average)

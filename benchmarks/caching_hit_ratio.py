"""How much of a trace is served by the first level, LRU and libcachesim's S3-FIFO beside it."""

from __future__ import annotations

import itertools
import os
import random
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.report import Report

# 914,145 page accesses of a real OLTP database; from the ARC paper: Megiddo and Modha, FAST 2003.
TRACE = Path(__file__).resolve().parents[2] / "shared" / "data" / "oltp.lis.zst"
ELSEWHERE = "ESCALA_OLTP_TRACE"  # the environment variable that names another place for it
OLTP_ACCESSES = 914_145
LEAST = {1000: 40.5, 2000: 46.6, 5000: 55.5, 10000: 62.2, 15000: 65.5}
PUBLISHED_LRU = {1000: 32.83, 2000: 42.47, 5000: 53.65, 10000: 60.70, 15000: 64.63}
APART = 0.5  # points that the reference may differ by
SYNTHETIC = ("zipf", "zipf_and_scan", "loop")
SIZES = (100, 1000)

GOALS = {
    **{f"hit_ratio.oltp.{pages}": Goal(least=least) for pages, least in LEAST.items()},
    **{
        f"hit_ratio.oltp.lru.{pages}": Goal(least=round(exact - 0.005, 3), most=exact + 0.005)
        for pages, exact in PUBLISHED_LRU.items()
    },
    **{
        f"hit_ratio.{trace}.{size}.to_libcachesim": Goal(least=-APART)
        for trace, sizes in (("oltp", tuple(LEAST)), *((name, SIZES) for name in SYNTHETIC))
        for size in sizes
    },
}


def measure(report: Report, *, quick: bool) -> None:
    """Replay every trace at every size; all figures are percentages or points of them."""
    traces: list[tuple[str, Sequence[int], tuple[int, ...]]] = [
        (name, synthetic(name, 50_000 if quick else 300_000), SIZES) for name in SYNTHETIC
    ]
    path = Path(os.environ.get(ELSEWHERE) or TRACE)
    try:
        traces.append(("oltp", oltp(path), tuple(LEAST)))
    except (ImportError, OSError) as error:
        report.absent["the OLTP trace"] = f"{error} ({ELSEWHERE}=path names another place)"
    reference = _reference(report)
    for name, trace, sizes in traces:
        say(f"hit ratio on {name}: {len(trace):,} look-ups")
        for size in sizes:
            ours = report.metrics[f"hit_ratio.{name}.{size}"] = s3_fifo(trace, size)
            report.metrics[f"hit_ratio.{name}.lru.{size}"] = lru(trace, size)
            if reference is not None:
                theirs = reference(trace, size)
                report.metrics[f"hit_ratio.{name}.libcachesim.{size}"] = theirs
                report.metrics[f"hit_ratio.{name}.{size}.to_libcachesim"] = ours - theirs


def oltp(path: Path) -> list[int]:
    """The pages of a trace of rows `start count _ _`, each of which is so many pages in a row."""
    import zstandard

    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        text = reader.read().decode("ascii")
    pages = [page for row in text.splitlines() for page in _pages(row)]
    if len(pages) != OLTP_ACCESSES:
        raise BenchmarkError(f"{path} has {len(pages):,} accesses, not {OLTP_ACCESSES:,}")
    return pages


def _pages(row: str) -> range:
    start, count, *_ = row.split()
    return range(int(start), int(start) + int(count))


def synthetic(name: str, count: int) -> list[int]:
    """A trace that is made up, always the same: `zipf`, `zipf_and_scan` or `loop`."""
    if name == "loop":  # a little longer than the larger level, so that LRU never hits
        return [number % 1200 for number in range(count)]
    weights = itertools.accumulate(1 / rank for rank in range(1, 20_001))
    hot = random.Random(1).choices(range(20_000), cum_weights=list(weights), k=count)
    if name == "zipf":
        return hot
    strangers = itertools.count(1_000_000)  # every other look-up is for something never seen
    return [key for each in hot[: count // 2] for key in (each, next(strangers))]


def s3_fifo(trace: Sequence[int], size: int) -> float:
    """Ours: what misses is put."""
    from escala.caching.pure.entry import MOST_VISITS, Entry, Terms
    from escala.caching.pure.s3_fifo import S3Fifo

    level, terms, hits = S3Fifo(max_entries=size), Terms(60.0), 0
    for key in trace:
        entry = level.table.get(key)
        if entry is None:
            level.put(Entry(key, None, until=60.0, terms=terms), 0.0)
            continue
        hits += 1
        if entry.visits < MOST_VISITS:
            entry.visits += 1
    if len(level.table) > size:
        raise BenchmarkError(f"the level holds {len(level.table)} entries, not {size}")
    return 100 * hits / len(trace)


def lru(trace: Sequence[int], size: int) -> float:
    """Drop what was not asked for the longest."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in kept:
            hits += 1
            kept.move_to_end(key)
            continue
        if len(kept) == size:
            kept.popitem(last=False)
        kept[key] = None
    return 100 * hits / len(trace)


def _reference(report: Report) -> Callable[[Sequence[int], int], float] | None:
    try:
        import libcachesim
    except ImportError as error:
        report.absent["libcachesim"] = str(error)
        return None

    def ratio(trace: Sequence[int], size: int) -> float:
        cache, request = libcachesim.S3FIFO(size), libcachesim.Request()
        request.obj_size, hits = 1, 0
        for key in trace:
            request.obj_id = key
            hits += cache.get(request)
        return 100 * hits / len(trace)

    return ratio

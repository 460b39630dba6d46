"""Several workers with one second level: what one changes is changed for all."""

from __future__ import annotations

import pytest
from tests.http.cache_world import FRESH
from tests.http.shared_world import (
    GERMAN,
    KEY,
    another,
    beside,
    changing,
    settled,
    worlds,
)

from escala.errors import BackendError
from escala.http.message import HttpRequest, Response


def test_a_change_in_one_is_a_change_in_all() -> None:
    a, b = worlds(stale_if_error=1000, stale_while_revalidate=1000)
    changing(a)

    async def main() -> None:
        for _ in range(3):
            await a.get()
            await b.get()
            assert (await a.get(method="PUT")).note == "bypass"
            assert a.counts("entries") == b.counts("entries") == [0]
            [found] = await beside(a).read([KEY], 0.0, a.runtime)
            assert found.blob is None
            reply = await b.get()
            assert (reply.note, reply.body) == ("miss", b"version %d" % a.origin.version)
            await settled(a)

    a.run(main())
    assert b.counts("l2_heard") == [3]


@pytest.mark.parametrize("how", ["forget", "aforget", "clear", "aclear"])
def test_forgetting_is_for_all(how: str) -> None:
    a, b = worlds()

    async def main() -> None:
        for target in ("/", "/other"):
            await a.get(target)
            await settled(a)
            await b.get(target)
        what = [] if "clear" in how else ["http://shop/"]
        done = getattr(a.cache, how)(*what)
        assert (await done if how.startswith("a") else done) is True
        assert (await b.get()).note == "miss"
        assert (await b.get("/other")).note == ("miss" if "clear" in how else "hit")

    a.run(main())


def test_after_a_change_of_unknown_fate_others_ask_first() -> None:
    a, b = worlds(stale_if_error=1000, stale_while_revalidate=1000)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        a.origin.answer = fail
        with pytest.raises(BackendError):
            await a.get(method="POST")
        await settled(a)
        assert (await b.get()).note == "stale"  # the last resort
        a.origin.answer = a.origin.page
        await a.sleep(2)
        assert (await b.get()).note == "revalidated"
        await settled(a)
        assert (await a.get()).note == "hit"

    def fail(_: HttpRequest) -> Response:
        raise BackendError("broke off")

    a.run(main())


@pytest.mark.parametrize("varies", [False, True])
def test_a_load_that_began_before_a_change_is_stored_nowhere(varies: bool) -> None:
    a, b = worlds()
    changing(a)
    a.origin.headers = [FRESH, (b"vary", b"accept-language")] if varies else [FRESH]
    a.origin.takes = 5.0

    async def main() -> None:
        loading = a.client("/", GERMAN)
        await a.sleep(1)
        a.origin.takes = 0.1
        await b.get(method="PUT")
        old = await loading
        assert old.body == b"version 1"  # it asked before
        await settled(a)
        assert a.counts("entries") == b.counts("entries") == [0]
        assert (await b.get("/", GERMAN)).body == b"version 2"
        await settled(a)
        assert (await a.get("/", GERMAN)).body == b"version 2"

    a.run(main())


def test_after_a_change_of_unknown_fate_variants_are_loaded_anew() -> None:
    a, b = worlds()
    a.origin.headers = [FRESH, (b"vary", b"accept-language")]

    async def main() -> None:
        await a.get("/", GERMAN)
        await settled(a)
        a.origin.answer = lambda _: Response(500, [])
        await a.get(method="POST")
        a.origin.answer = a.origin.page
        assert (await b.get("/", GERMAN)).note == "miss"
        await settled(a)
        assert (await another(a).get("/", GERMAN)).note == "hit"

    a.run(main())

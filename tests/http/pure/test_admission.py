from __future__ import annotations

from escala.http.pure.admission import Admission, Arrival, Terms, admit
from escala.http.pure.asked import Asked
from escala.http.pure.http_date import format_date

NOW = 1_750_000_000.0


def verdict(
    control: bytes, *lines: tuple[bytes, bytes], delay: float = 0.0, **terms: float
) -> Admission:
    headers = [(b"date", format_date(NOW)), (b"cache-control", control), *lines]
    arrival = Arrival(wall=NOW, now=100.0, delay=delay)
    return admit("GET", Asked(), 200, headers, arrival=arrival, terms=Terms(**terms))


def test_the_windows_begin_when_the_answer_was_new() -> None:
    found = verdict(b"max-age=60", (b"age", b"10"), delay=5.0)
    assert found.refusal is None
    assert (found.windows.born, found.windows.fresh) == (85.0, 145.0)


def test_what_is_too_old_on_arrival_is_of_no_use() -> None:
    assert verdict(b"max-age=60", (b"age", b"60")).refusal is not None
    assert verdict(b"max-age=60", (b"age", b"59")).refusal is None
    assert verdict(b"max-age=60", (b"age", b"60"), (b"etag", b'"x"')).refusal is None


def test_the_owners_terms_make_use_of_it() -> None:
    old = (b"age", b"60")
    assert verdict(b"max-age=60", old, stale_if_error=1.0).refusal is None
    assert verdict(b"max-age=60", old, stale_while_revalidate=1.0).refusal is None
    assert verdict(b"max-age=60, must-revalidate", old, stale_if_error=1.0).refusal is not None
    assert verdict(b"").refusal is not None
    assert verdict(b"", unstated=5.0).windows.fresh == 105.0

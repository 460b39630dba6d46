from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.demo.made_up import half, traffic

from escala.cli.demo.figures import figures
from escala.cli.demo.half import Half
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.prices import Prices
from escala.cli.demo.report import series, svg
from escala.cli.demo.report.latency import span
from escala.cli.demo.report.page import page
from escala.cli.demo.shop import Pages
from escala.cli.demo.views import Views
from escala.cli.demo.watch import Event, Sample

CHARTS = 6
VOID = {"meta", "link", "br", "img", "input"}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed, or on anything that would need the network."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe"}
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def made(*halves: Half, seconds: float = 20.0) -> str:
    by_name = {each.name: each for each in halves}
    flow = traffic(seconds)
    html = page(flow, figures(flow, by_name.get("baseline"), by_name["stack"]), list(halves))
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return html


def drawings(html: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314  our own


def busy(name: str, seconds: float = 20.0, *, all_failed: bool = False) -> Half:
    draw = random.Random(4)
    outcomes = [
        Outcome(
            draw.uniform(0, seconds),
            draw.expovariate(20),
            draw.choice(["GET", "POST"]),
            "product",
            status=0 if all_failed else draw.choice([200, 200, 304, 503]),
            cache="" if all_failed else draw.choice(["", "hit", "miss", "stale"]),
            rejected="" if all_failed else draw.choice(["", "", "rate_limit"]),
            error="reset" if all_failed else "",
        )
        for _ in range(400)
    ]
    samples = [
        Sample(
            at=n / 4,
            reached=n * 9,
            retries=n,
            hits=n * 3,
            rejected={"bulkhead": n},
            healthy=(n % 9 > 3, True, n < 40),
            rss_mb=33.0,
        )
        for n in range(int(seconds * 4))
    ]
    events = [
        Event(at=3.0, type="breaker", name="shop", detail={"to": "open"}),
        Event(at=3.1, type="breaker", name="shop", detail={"to": "half_open"}),
        Event(at=9.0, type="breaker", name="shop", detail={}),
        Event(
            at=9.5, type="health", name="<b>&amp;", detail={"target": "<script>", "healthy": False}
        ),
    ]
    return half(name, outcomes=outcomes, samples=samples, events=events, seconds=seconds)


def test_a_full_report_has_every_chart_twice() -> None:
    found = drawings(made(busy("baseline"), busy("stack")))
    assert len(found) == 2 * CHARTS
    assert all(drawing.find("{*}title") is not None for drawing in found)


def test_one_half_alone() -> None:
    html = made(busy("stack"))
    assert len(drawings(html)) == CHARTS
    assert "round robin" not in html


@pytest.mark.parametrize("seconds", [0.5, 1.0, 4.0, 3600.0])
def test_any_length(seconds: float) -> None:
    made(busy("baseline", seconds), busy("stack", seconds), seconds=seconds)


def test_nothing_happened() -> None:
    assert len(drawings(made(half("baseline"), half("stack")))) == 2 * CHARTS


def test_everything_failed() -> None:
    html = made(busy("baseline", all_failed=True), busy("stack", all_failed=True))
    assert "With the stack: 400." in html


def test_what_the_database_was_spared_is_drawn_and_said() -> None:
    plain = half("baseline", pages=Pages(asked=4000, read=4000), views=Views(served=7, saves=7))
    spared = half(
        "stack",
        pages=Pages(asked=1000, read=250),
        prices=Prices(changed=9, seen=1234, stale=3),
        views=Views(served=432, found=431, saves=32),
    )
    html = made(plain, spared)
    assert "<strong>3 of 1,234</strong><span>without: 0 of 0</span>" in html
    assert "431 of 432 were in the database afterwards" in html
    one, other = drawings(html)[-2:]
    assert [numbers(one), numbers(other)] == [
        ["4,000", "4,000", "7", "7"],
        ["1,000", "250", "432", "32"],
    ]
    widths = [float(box.attrib["width"]) for box in other.iterfind(".//{*}rect")]
    assert widths == pytest.approx([72, 18, 31.1, 2.3], abs=0.1)


def numbers(drawing: ET.Element) -> list[str]:
    return [
        text.text or ""
        for text in drawing.iterfind(".//{*}text")
        if "strong" in text.attrib["class"]
    ]


def test_foreign_text_is_escaped() -> None:
    html = made(busy("stack"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_no_drawing_leaves_its_frame() -> None:
    for drawing in drawings(made(busy("baseline"), busy("stack"))):
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        for box in drawing.iterfind(".//{*}rect"):
            x, y, w, h = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
            assert -0.2 <= x <= x + w <= width + 0.2
            assert -0.2 <= y <= y + h <= height + 0.2


@given(st.floats(0.01, 1e6), st.lists(st.floats(0, 1e6), max_size=30))
def test_every_outcome_is_in_one_stretch(seconds: float, moments: list[float]) -> None:
    outcomes = [Outcome(min(moment, seconds), 0.01, "GET", "product") for moment in moments]
    cut = series.stretches(outcomes, seconds)
    assert sum(map(len, cut)) == len(outcomes)
    assert len(cut) <= 66


def test_rates_are_read_between_samples() -> None:
    samples = [Sample(at=0.0, reached=0), Sample(at=10.0, reached=1000)]
    found = series.rates(samples, 20.0, lambda sample: sample.reached)
    assert found[3] == pytest.approx(100)
    assert found[-1] == 0
    assert set(series.rates([], 20.0, lambda sample: sample.reached)) == {0.0}


def test_the_scale_of_latency_holds_all_halves() -> None:
    quick = half("stack", outcomes=[Outcome(0, 0.0005, "GET", "product", status=200)])
    slow = half("baseline", outcomes=[Outcome(0, 4.0, "GET", "product", status=200)])
    assert span([quick, slow]) == (-4, 1)
    assert span([]) == (-3, 0)


def test_svg_writes_short_numbers_and_safe_text() -> None:
    assert svg.number(3.0) == "3"
    assert svg.number(-0.25) == "-0.2"
    assert (
        svg.text('<&"', 1, 2)
        == '<text x="1" y="2" class="" text-anchor="start">&lt;&amp;&quot;</text>'
    )
    assert (
        svg.path([None, (1, 2), None, (3, 4), (5, 6)], "line")
        == '<path d="M1 2M3 4L5 6" class="line"/>'
    )
    assert svg.box(0, 0, 0, 5, "band") == ""

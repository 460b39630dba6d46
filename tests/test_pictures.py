"""The committed pictures show what the code does today."""

from __future__ import annotations

import re

import pytest

from docs.plots.drawing.figure import Figure
from docs.plots.drawing.pictures import PICTURES, drawings, drawn, names, stamp, stamped

PAGES = PICTURES.parent
SHOWN = re.compile(r"!\[[^\]]+\]\(pictures/([^)]+)\)")


CODE = {file: draw for name in names() for file, draw in drawings(name).items()}


@pytest.mark.parametrize("file", CODE)
def test_a_picture_was_drawn_from_what_the_code_does_now(file: str) -> None:
    figure = drawn(file, CODE[file])
    assert stamped((PICTURES / file).read_text()) == figure.digest(), "make plots"


def test_every_picture_has_its_code() -> None:
    assert {file.name for file in PICTURES.iterdir()} == set(CODE)
    assert all(drawings(name) for name in names())


def test_every_picture_is_shown_with_its_caption() -> None:
    shown = {file for page in PAGES.glob("*.md") for file in SHOWN.findall(page.read_text())}
    assert shown == {file.name for file in PICTURES.iterdir()}


def test_pictures_are_small_and_have_no_date() -> None:
    for file in PICTURES.iterdir():
        text = file.read_text()
        assert len(text) < 100_000, file
        assert "dc:date" not in text, file


def test_the_digest_changes_with_what_is_shown_and_not_with_noise() -> None:
    def shown(y: float, label: str = "a") -> str:
        figure = Figure("p")
        figure.panel(x="s", y="n").line([0, 1], [1, y], label)
        return figure.digest()

    assert shown(2) == shown(2 + 1e-9)
    assert shown(2) != shown(2.01)
    assert shown(2) != shown(2, "b")


def test_a_file_says_from_what_it_was_drawn() -> None:
    figure = Figure("p")
    assert stamped(f"<?xml?>\n{stamp(figure)}\n<svg/>") == figure.digest()
    assert stamped("<svg/>") is None


def test_points_come_in_pairs() -> None:
    panel = Figure("p").panel(x="s", y="n")
    with pytest.raises(ValueError, match="expected as many x as y, found 2 and 1"):
        panel.line([1, 2], [1])

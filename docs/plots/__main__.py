"""Draw the catalogue's pictures anew: `make plots`, or `make plots NAME=retry` for one page's."""

from __future__ import annotations

import sys

from docs.plots.drawing.pictures import PICTURES, drawings, drawn, names
from docs.plots.drawing.svg import svg_of


def main() -> None:
    """Write the files and say which."""
    for name in sys.argv[1:] or names():
        for file, draw in drawings(name.replace("-", "_")).items():
            PICTURES.mkdir(exist_ok=True)
            (PICTURES / file).write_text(svg_of(drawn(file, draw)))
            print(f"docs/catalogue/pictures/{file}")


main()

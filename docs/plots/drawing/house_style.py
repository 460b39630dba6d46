"""How every picture looks: a light sheet, legible on a dark page too, in colours all can tell.

The colours are those of Okabe and Ito (2008); dashes and marks tell lines apart without them.
"""

from __future__ import annotations

from typing import Any

SIZE = (7.0, 3.2)  # inches
INK, PAPER, FAINT = "#222222", "#fcfcfa", "#d9d9d4"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "escala",  # the ids in the file are the same each time
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "xtick.color": INK,
    "ytick.color": INK,
}
# A date or a version would change the file without changing the picture.
METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

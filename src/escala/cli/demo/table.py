"""The figures as a table in the terminal, the baseline beside the stack."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from escala.cli.demo.rows import ROWS, shown


def table(figures: dict[str, Any]) -> Table:
    """Rows that both the terminal and the report have."""
    halves = [name for name in ("baseline", "stack") if f"{name}.requests" in figures]
    made = Table(title="What was saved", title_justify="left", show_edge=False, pad_edge=False)
    made.add_column("")
    for name in halves:
        made.add_column(name, justify="right")
    for row in ROWS:
        made.add_row(row.label, *(shown(row, figures, name) for name in halves))
    return made

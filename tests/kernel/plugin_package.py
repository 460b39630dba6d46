"""Third-party packages for tests: a real distribution, written to a directory on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from escala.kernel import registry


def install(
    monkeypatch: pytest.MonkeyPatch,
    site: Path,
    name: str,
    *,
    points: dict[str, dict[str, str]],
    modules: dict[str, str],
) -> None:
    """Put a package with these entry points (group to name to value) and modules on the path."""
    site.mkdir(exist_ok=True)
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = [
        line
        for group, names in points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
    if str(site) not in sys.path:
        monkeypatch.syspath_prepend(str(site))


def forget(modules: tuple[str, ...]) -> None:
    """What a test installed is gone for the next one."""
    registry.forget()
    for module in modules:
        sys.modules.pop(module, None)

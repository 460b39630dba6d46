"""Policies of a third-party package, installed for the tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.probe_stack import PLUGIN
from tests.kernel.plugin_package import forget, install

from escala.kernel import registry


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget(())
    install(
        monkeypatch,
        tmp_path,
        "probe-package",
        points={
            registry.POLICIES: {
                "again": "probe_module:Again",
                "wait": "probe_module:Wait",
                "keep": "probe_module:Keep",
            }
        },
        modules={"probe_module": PLUGIN},
    )
    yield
    forget(("probe_module",))


@pytest.fixture
def only_plugins(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema and the lists in errors name the test's own policies only."""
    points = registry._points(registry.POLICIES)
    mine = tuple(point for point in points if point.value.startswith("probe_module"))
    found = registry._points

    def points_of(group: str) -> Any:
        return mine if group == registry.POLICIES else found(group)

    points_of.cache_clear = found.cache_clear  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "_points", points_of)

"""A world in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from escala.testing import VirtualRuntime


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()

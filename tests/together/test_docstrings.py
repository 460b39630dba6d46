"""Every example in the docstrings of these chapters runs, and shows what it says it shows."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from types import ModuleType

import pytest

import escala.adapters
import escala.hashing
import escala.limiting
import escala.resilience
from escala.resilience import Bulkhead
from escala.testing import Trial, cancel_everywhere

MODULES = [
    name
    for chapter in (escala.adapters, escala.hashing, escala.limiting, escala.resilience)
    for _, name, _ in pkgutil.walk_packages(chapter.__path__, f"{chapter.__name__}.")
]


def modules() -> list[ModuleType]:
    return [importlib.import_module(name) for name in MODULES]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_docstring_examples(module: ModuleType) -> None:
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for module in modules() for test in finder.find(module) if test.examples]
    assert {test.name.rpartition(".")[2] for test in found} >= {
        "Bulkhead",
        "CircuitBreaker",
        "Retry",
        "TokenBucket",
    }


def test_the_example_of_cancel_everywhere() -> None:
    doc = inspect.getdoc(cancel_everywhere) or ""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", doc + "\n", re.MULTILINE)
    (example,) = (block for block in blocks if "async def" in block)
    names = {
        "Bulkhead": Bulkhead,
        "Trial": Trial,
        "asyncio": asyncio,
        "cancel_everywhere": cancel_everywhere,
    }
    exec(textwrap.dedent(example), names)  # noqa: S102  our own docstring

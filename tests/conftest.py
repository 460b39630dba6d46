"""What every test lives under: hypothesis profiles, and no real sleep outside live folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import settings

# `ci` repeats the same examples, so that a red build speaks of the change and not of luck;
# `dev` looks for new ones. HYPOTHESIS_PROFILE chooses, `thorough` is for a long look.
settings.register_profile("dev", deadline=None, max_examples=100)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))

HERE = Path(__file__).parent
LIVE = {"contracts", "crash", "live", "peers"}
A_BLINK = 0.05  # long enough to hand over to another thread, too short to wait for something


@pytest.fixture(autouse=True)
def no_real_sleep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that really sleeps: move virtual time instead (`VirtualRuntime`)."""
    folders = request.path.relative_to(HERE).parts[:-1] if request.path.is_relative_to(HERE) else ()
    if LIVE.intersection(folders) or request.node.get_closest_marker("live"):
        return
    really = time.sleep  # noqa: TID251  to replace it is the point

    def sleep(seconds: float) -> None:
        if seconds > A_BLINK:
            pytest.fail(f"really sleeps for {seconds} s; use VirtualRuntime, or mark it live")
        really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)

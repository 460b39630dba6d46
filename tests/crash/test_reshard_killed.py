"""Slots move under eight writers, and their coordinator is killed at its steps: nothing is lost.

`make crash` kills it at each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = os.environ.get("ESCALA_RESHARD_POINTS", "6,24")
MOST_PAUSE = 250  # milliseconds


@pytest.mark.live
@pytest.mark.timeout(3600 if POINTS == "all" else 120)
def test_nothing_is_lost_doubled_or_resurrected(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.crash.reshard_killed", str(tmp_path), POINTS]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["lost"], told["resurrected"], told["wrong"]) == ([], [], [])
    assert told["untouched"] == told["rows"]
    assert told["longest_pause"] < MOST_PAUSE
    assert told["writes"] > 500, "there was a load"
    assert told["killed"].keys() == {"run", "abort", "cutover", "reverse", "complete"}

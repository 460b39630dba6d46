"""SIGKILL at random points: what was acknowledged is in the source, as it was last written.

`make crash` does it a thousand times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
POINTS = int(os.environ.get("ESCALA_CRASH_POINTS", "20"))


@pytest.mark.live
@pytest.mark.timeout(60 + POINTS)
@pytest.mark.parametrize("mode", ["last", "merge"])
def test_no_acknowledged_write_is_lost(mode: str, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "write_behind_killed.py"), str(POINTS), "7", mode]
    ran = subprocess.run([*command, tmp_path], check=True, capture_output=True, text=True)
    told = json.loads(ran.stdout)
    assert told["wrong"] == []
    assert told["compared"] >= POINTS // 5
    assert told["safe"] > 3 * POINTS, "it has really written"
    assert "Traceback" not in ran.stderr

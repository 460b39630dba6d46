"""The demo for real: a shop, a gateway, faults, and every promise of the stack kept."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

DEMO = (sys.executable, "-m", "escala", "demo")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One short run of both halves."""
    out = tmp_path_factory.mktemp("demo")
    command = [*DEMO, "--seconds", "14", "--rate", "40", "--json", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return out, figures


def test_every_accepted_order_is_found(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert figures["orders.accepted"] == figures["orders.found"] > 0
    assert figures["stack.stock_agrees"] is True


def test_no_get_fails_behind_the_stack(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert figures["stack.failed_get"] == 0
    assert figures["stack.success"] >= 0.99


def test_the_same_faults_hurt_the_baseline(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert figures["baseline.requests"] == figures["stack.requests"]
    assert figures["baseline.failed_get_killed"] > 0
    assert figures["baseline.success"] < figures["stack.success"]
    assert figures["stack.reached_shop"] < figures["baseline.reached_shop"]


def test_the_reports_are_written(ran: tuple[Path, dict[str, Any]]) -> None:
    out, figures = ran
    assert json.loads((out / "report.json").read_text()) == figures
    html = (out / "report.html").read_text()
    assert len(re.findall("<svg", html)) == 12


def test_no_page_shows_an_old_price(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert figures["stack.stale_pages"] == 0
    assert figures["stack.pages_seen"] > figures["stack.prices_changed"] > 5


def test_every_view_is_counted_in_fewer_writes(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert figures["stack.views_found"] == figures["stack.views_served"] > 0
    assert figures["stack.view_writes"] < figures["stack.views_served"]
    assert figures["baseline.view_writes"] >= figures["baseline.views_served"]


def test_the_shop_reads_fewer_pages_than_it_shows(ran: tuple[Path, dict[str, Any]]) -> None:
    _, figures = ran
    assert 0 < figures["stack.pages_read"] < figures["stack.pages_asked"]
    assert figures["baseline.pages_read"] == figures["baseline.pages_asked"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*DEMO, "--no-baseline", "--seconds", "30", "--rate", "5", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        yield demo
        demo.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_an_interrupt_leaves_no_process_behind(
    running: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if "SIGKILL to instance 1" in line:
            break
    children = children_of(running.pid)
    assert len(children) >= 3
    running.send_signal(number)
    rest, _ = running.communicate(timeout=20)
    assert running.returncode == 130
    assert rest.strip().endswith("escala demo: stopped")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_a_shop_that_does_not_start_is_one_clear_line(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in ("__init__.py", "seed.py"):
        (shop / name).touch()
    (shop / "__main__.py").write_text('raise SystemExit("the port is taken")')
    for name in ("stack.yaml", "baseline.yaml"):
        (shop / name).write_text("upstreams: {shop: {targets: []}}\nroutes: []\n")
    command = [*DEMO, "--shop", str(shop), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        r"escala demo: shop instance \d did not start: the port is taken\n", done.stderr
    )

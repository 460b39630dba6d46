from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import yaml
from tests.demo.made_up import half, traffic

from escala.cli.demo import orders, ports, stack_file, views
from escala.cli.demo.caveats import caveats
from escala.cli.demo.figures import figures
from escala.cli.demo.options import parse
from escala.cli.demo.orders import Orders
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.ports import HIGHEST, LOWEST, free_port
from escala.cli.demo.prices import Prices
from escala.cli.demo.run import main
from escala.cli.demo.shop import find_shop
from escala.cli.demo.views import Views
from escala.cli.demo.watch import sample
from escala.errors import ConfigError

SHOP = find_shop(None)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--log", "none.log"), ("--shop", "nowhere"), ("--out", "file")],
    ids=["log", "shop", "out"],
)
def test_wrong_paths_are_one_clear_line(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([option, str(tmp_path / value)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"escala demo: {option} ")


@pytest.mark.parametrize(
    "argv",
    [
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--rate", "-1"],
        ["--orders", "120%"],
        ["--workers", "0"],
        ["--seed", "x"],
        ["--surprise"],
    ],
    ids=" ".join,
)
def test_wrong_options_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_options_say_how_to_run_it_again() -> None:
    assert parse([]).command() == "escala demo --seed 1 --seconds 60"
    argv = ["--seed", "7", "--seconds", "12", "--log", "a.log", "--rate", "50", "--no-baseline"]
    again = parse(argv).command().split()
    assert parse(again[2:]) == parse(argv)


def test_stack_files_keep_their_policies(tmp_path: Path) -> None:
    target = tmp_path / "stack.yaml"
    source = SHOP / "stack.yaml"
    names = stack_file.write(source, target, listen=1, admin=2, targets=[3, 4, 5], workers=2)
    old, new = yaml.safe_load(source.read_text()), yaml.safe_load(target.read_text())
    assert new["routes"] == old["routes"]
    assert (new["listen"], new["admin"], new["workers"]) == ("127.0.0.1:1", "127.0.0.1:2", 2)
    assert new["upstreams"]["shop"]["targets"] == [f"127.0.0.1:{port}" for port in (3, 4, 5)]
    assert {"cache", "retry", "circuit_breaker", "bulkhead", "timeout", "rate_limit"} <= names


def test_the_baseline_has_no_policies(tmp_path: Path) -> None:
    target = tmp_path / "baseline.yaml"
    names = stack_file.write(
        SHOP / "baseline.yaml", target, listen=1, admin=2, targets=[3], workers=1
    )
    assert names == frozenset()
    assert "health" not in target.read_text()


@pytest.mark.parametrize("text", [None, "{", "just text", "upstreams: 3"], ids=str)
def test_a_broken_stack_file_is_named(tmp_path: Path, text: str | None) -> None:
    source = tmp_path / "stack.yaml"
    if text is not None:
        source.write_text(text)
    with pytest.raises(ConfigError, match=r"stack\.yaml"):
        stack_file.write(source, tmp_path / "out", listen=1, admin=2, targets=[3], workers=1)


def test_ports_are_below_those_of_clients() -> None:
    assert all(LOWEST <= free_port() <= HIGHEST for _ in range(20))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite3"
    with sqlite3.connect(path) as db:
        db.executescript((SHOP / "schema.sql").read_text())
        db.execute("INSERT INTO product VALUES (1, 1, 'a', 'b', 100, 1, 7, 10)")
        db.execute("INSERT INTO orders VALUES ('k1', 1, 2, 200), ('k2', 1, 1, 100)")
    db.close()
    return path


def ordered(key: str, status: int) -> Outcome:
    return Outcome(0, 0.01, "POST", "order", key=key, status=status)


def test_orders_are_looked_up_by_key(database: Path) -> None:
    outcomes = [ordered("k1", 201), ordered("k2", 0), ordered("k3", 201), ordered("k4", 503)]
    assert orders.compare(database, outcomes) == Orders(
        sent=4, accepted=2, found=1, unconfirmed=1, stock_agrees=True
    )


def viewed(number: int, status: int = 200, method: str = "GET", cache: str = "miss") -> Outcome:
    path = f"/api/stock/{number}"
    return Outcome(0, 0.01, method, "stock", status=status, path=path, cache=cache)


def test_views_are_compared_product_by_product(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute(
            "INSERT INTO view VALUES (1, '9001', 2, 7), (1, '9002', 1, 3), (2, '9001', 5, 8)"
        )
        db.execute("INSERT INTO view_saves VALUES ('9001', 4), ('9002', 1)")
    db.close()
    outcomes = [
        *[viewed(1)] * 4,  # one more than are counted
        *[viewed(2)] * 3,  # two fewer: their answers did not arrive
        viewed(3),
        *(viewed(4, status=0), viewed(4, status=503), viewed(4, method="HEAD")),
        viewed(4, cache="hit"),
    ]
    assert views.compare(database, outcomes) == Views(served=8, found=6, unconfirmed=2, saves=5)
    assert views.compare(database, []) == Views(served=0, found=0, unconfirmed=8, saves=5)


def test_lost_views_and_old_prices_are_not_passed_over() -> None:
    bad = half("stack", prices=Prices(seen=9, stale=1), views=Views(served=2, found=1))
    said = caveats(figures(traffic(), None, bad))
    assert any("price that was no longer in force" in line for line in said)
    assert any("views are missing" in line for line in said)
    good = half("stack", prices=Prices(seen=9), views=Views(served=2, found=2, unconfirmed=1))
    said = caveats(figures(traffic(), None, good))
    assert not [line for line in said if "price" in line or "views" in line]


def test_a_lost_order_is_not_passed_over() -> None:
    lost = half("stack", orders=Orders(sent=2, accepted=2, found=1, stock_agrees=False))
    said = caveats(figures(traffic(), None, lost))
    assert any("accepted orders are missing" in line for line in said)
    assert any("stock" in line for line in said)


def test_a_late_generator_says_so() -> None:
    late = Outcome(0, 0.2, "GET", "product", status=200, late=0.1)
    said = caveats(figures(traffic(), None, half("stack", outcomes=[late])))
    assert any("generator itself was late" in line for line in said)


def test_a_sample_adds_up_what_status_says() -> None:
    status = {
        "workers": [{"rss_mb": 30.0}, {"rss_mb": 33.5}],
        "routes": [
            {"retries": 2, "rejected": {"bulkhead": 1}, "cache": {"hits": 5, "coalesced": 1}},
            {"retries": 1, "rejected": {"bulkhead": 2, "rate_limit": 4}, "cache": None},
        ],
        "upstreams": {
            "shop": {
                "targets": [{"requests": 7, "healthy": True}, {"requests": 3, "healthy": False}]
            }
        },
    }
    found = sample(status, 1.5)
    assert (found.at, found.reached, found.retries, found.hits) == (1.5, 10, 3, 6)
    assert found.rejected == {"bulkhead": 3, "rate_limit": 4}
    assert found.healthy == (True, False)
    assert found.rss_mb == 33.5
    assert sample({}, 0.0).reached == 0


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "HIGHEST", ports.LOWEST + 19)
    monkeypatch.setattr(ports, "_given", set())
    given = [ports.free_port() for _ in range(5)]
    assert len({*given}) == 5

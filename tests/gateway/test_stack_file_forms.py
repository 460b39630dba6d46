from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.gateway.probe_stack import GOOD, changed, load

from escala.balancing import Upstream
from escala.gateway.stack_file import stack_of, stack_schema
from escala.kernel import registry
from escala.kernel.stack import Stack

pytestmark = pytest.mark.usefixtures("plugins")


def test_json_reads_back_as_the_same(tmp_path: Path) -> None:
    stack = load(tmp_path, GOOD + "trusted_proxies: [10.0.0.0/8]\nlimits: {replay: 1kB}\n")
    text = stack.to_json()
    assert load(tmp_path, text) == stack
    assert stack_of(json.loads(text)) == stack
    written = json.loads(text)
    assert written["limits"]["replay"] == "1kB"
    assert written["drain_timeout"] == "30s"
    assert written["upstreams"]["shop"]["health"]["timeout"] == "400ms"
    assert written["routes"][0]["policies"] == [
        "keep",
        {"keep": {"size": "32MiB"}},
        {"keep": {"size": "1kB"}},
        {"again": {"attempts": 4, "budget": "10%", "names": ["a", "b"]}},
        "again",
        {"wait": {"after": "1s"}},
    ]


def test_python_source_names_only_what_differs(tmp_path: Path) -> None:
    assert (
        load(tmp_path, GOOD).to_python()
        == """\
from escala import HealthCheck, Stack, Upstream
from escala.balancing import Target
from probe_module import Again, Keep, Wait

shop = Upstream(
    "shop",
    [
        "http://127.0.0.1:9001",
        "http://127.0.0.1:9002",
        Target("http://127.0.0.1:9003", weight=2),
    ],
    balance="least_connections",
    health=HealthCheck(timeout="400ms", fall=3),
)

# GET POST /api/ -> shop
api = Stack(
    Keep(),
    Keep(size="32MiB"),
    Keep(size="1kB"),
    Again(attempts=4, budget="10%", names=["a", "b"]),
    Again(),
    Wait("1s"),
)
"""
    )


def test_python_source_makes_the_same_objects(tmp_path: Path) -> None:
    text = """
listen: 127.0.0.1:1
upstreams:
  api: {targets: [a:1], panic: true}
  "2": {targets: [a:2], health: /up}
routes:
  - {path: /, upstream: api, policies: [again: {budget: }]}
  - {path: /api, host: x.y, upstream: "2", policies: [wait: 90]}
  - {path: /class, upstream: "2"}
"""
    stack = load(tmp_path, text)
    made: dict[str, Any] = {}
    exec(stack.to_python(), made)  # noqa: S102  our own source
    upstreams = {name: each for name, each in made.items() if isinstance(each, Upstream)}
    stacks = {name: each for name, each in made.items() if isinstance(each, Stack)}
    assert list(upstreams) == ["api", "the_2"]
    assert (upstreams["api"].name, upstreams["api"].panic) == ("api", True)
    assert upstreams["the_2"].health is not None
    assert upstreams["the_2"].health.options.path == "/up"
    assert list(stacks) == ["everything", "api_2", "the_class"]
    for name, route in zip(stacks, stack.routes, strict=True):
        policies: Any = stacks[name].policies
        assert [policy.options for policy in policies] == [
            entry.options for entry in route.policies
        ]


@pytest.mark.usefixtures("only_plugins")
def test_the_schema_knows_good_from_bad(tmp_path: Path) -> None:
    schema = stack_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert schema["title"] == "stack.yaml of Escala"
    validator.validate(yaml.safe_load(GOOD))
    validator.validate(json.loads(load(tmp_path, GOOD).to_json()))
    good = [
        ("workers: 2", "workers: ${WORKERS}"),
        ("wait: 1s", "wait: {after: 2}"),
        ("wait: 1s", 'wait: "${PAUSE:-1s}"'),
        ("- again:\n", "- again: {}\n"),
        ("health: {path: /health,", "health: {"),
    ]
    for old, new in good:
        validator.validate(yaml.safe_load(changed(old, new)))
    bad = [
        ("listen: 127.0.0.1:8080", "listen: 127.0.0.1"),
        ("workers: 2", "workers: 0"),
        ("workers: 2", "worker: 2"),
        ("wait: 1s", "wait: soon"),
        ("- wait: 1s", "- wait"),
        ("- wait: 1s", "- wait:"),
        ("- wait: 1s", "- {wait: 1s, keep: 1kB}"),
        ("- wait: 1s", "- {}"),
        ("- wait: 1s", "- {wait: 1s, zzz: 1}"),
        ("- wait: 1s", "- nothing"),
        ("- wait: 1s", "- nothing: 1s"),
        ("attempts: 4", "attempts: 0"),
        ("attempts: 4", "atempts: 4"),
        ("balance: least_connections", "balance: luck"),
        ("path: /api/", "path: api/"),
        ("[GET, POST]", "[get]"),
        ("  shop:", '  "my shop":'),
        ("upstream: shop", "upstreem: shop"),
    ]
    for old, new in bad:
        assert not validator.is_valid(yaml.safe_load(changed(old, new))), new


@pytest.mark.usefixtures("only_plugins")
def test_the_schema_describes_fields() -> None:
    definitions = stack_schema()["$defs"]
    for name, definition in definitions.items():
        if name.startswith(("Wait", "Keep", "Again", "variable")):
            continue
        assert definition["description"], name
        whole = definition.get("anyOf", [definition])[0]
        for field, written in whole["properties"].items():
            assert written.get("description"), f"{name}.{field}"
    assert definitions["StackFile"]["properties"]["drain_timeout"]["default"] == "30s"


def test_every_installed_policy_is_in_the_schema() -> None:
    names = set(registry.names(registry.POLICIES))
    assert {
        "retry",
        "circuit_breaker",
        "bulkhead",
        "timeout",
        "deadline",
        "rate_limit",
        "cache",
    } < (names)

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from escala.gateway.stack_file import load_stack, stack_of, stack_schema
from escala.kernel import registry
from escala.kernel.policy import Scope

GOOD = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:8081          # /metrics (Prometheus), /status (JSON), /healthz, /readyz
workers: 2
upstreams:
  shop:
    targets: [127.0.0.1:9001, 127.0.0.1:9002, {url: "http://127.0.0.1:9003", weight: 2}]
    balance: least_connections
    health: {path: /health, interval: 2s, timeout: 500ms, fall: 2, rise: 2}
routes:
  - path: /api/
    methods: [GET, POST]
    upstream: shop
    policies:                  # outermost first, the same names and options as in Python
      - rate_limit: {limit: 200/s, burst: 400, key: client_ip}
      - cache: {size: 64MiB}
      - deadline: 3s
      - retry: {attempts: 3, budget: 20%}
      - circuit_breaker: {failure_rate: 50%, window: 10s, cooldown: 5s}
      - bulkhead: {slots: 100, queue: 100}
      - timeout: 1s
"""


def test_the_file_of_the_readme_is_the_same_in_every_form(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text(GOOD)
    stack = load_stack(file, {})
    (route,) = stack.routes
    assert [policy.kind for policy in route.stack(Scope(name="api")).policies] == [
        *("rate_limit", "cache", "deadline", "retry", "circuit_breaker", "bulkhead", "timeout")
    ]
    assert stack_of(json.loads(stack.to_json())) == stack

    made: dict[str, Any] = {}
    exec(stack.to_python(), made)  # noqa: S102  our own source
    policies: Any = made["api"].policies
    for policy, entry in zip(policies, route.policies, strict=True):
        assert (type(policy), policy.options) == (entry.kind, entry.options)
    assert stack.to_python().startswith("from escala import (\n    Bulkhead,\n")
    assert repr(made["shop"]) == repr(stack.upstreams["shop"].build("shop"))
    assert made["shop"].health.options == stack.upstreams["shop"].health


def test_the_schema_of_all_installed_policies() -> None:
    schema = stack_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(yaml.safe_load(GOOD))
    for old, new in {
        "limit: 200/s": "limit: 200 per second",
        "attempts: 3": "attempts: none",
        "deadline: 3s": "deadline: [3s]",
        "slots: 100": "slot: 100",
    }.items():
        assert not validator.is_valid(yaml.safe_load(GOOD.replace(old, new))), new


def test_every_policy_is_what_its_entry_point_says() -> None:
    for name, kind in registry.policies().items():
        assert kind.kind == name
        if kind.shorthand is not None:
            assert kind.shorthand in kind.Options.__struct_fields__
        # `escala show --as python` writes a constructor call with the names of the options.
        assert set(kind.Options.__struct_fields__) <= set(inspect.signature(kind).parameters)


def test_every_option_of_a_policy_is_described() -> None:
    definitions = stack_schema()["$defs"]
    silent = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, written in definition.get("anyOf", [definition])[0].get("properties", {}).items()
        if "description" not in written
    ]
    assert silent == []

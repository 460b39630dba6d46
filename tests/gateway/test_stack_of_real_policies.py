from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from escala.cli.check import main
from escala.errors import ConfigError
from escala.gateway.stack_file import load_stack, stack_of, stack_schema
from escala.kernel import registry
from escala.kernel.policy import Policy, Scope

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


def test_what_a_policy_has_against_its_options_is_placed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text("""
listen: 127.0.0.1:8080
upstreams: {u: {targets: [127.0.0.1:9001]}}
routes:
  - path: /a
    upstream: u
    policies:
      - sliding_window_log: 2000000/s
      - rate_limit:
          limit: 10/s
          store: redis://h?timout=1
      - rate_limit: {limit: 1.5/s, strict: true}
  - path: /b
    upstream: u
    policies:
      - retry: {attempts: none}
      - circuit_breaker:
          store: redis://h?nodes=0
""")
    with pytest.raises(ConfigError) as caught:
        load_stack(file, {})
    a, b = f"{file}:", "routes[0].policies"
    assert [problem.partition("expected ")[0] for problem in caught.value.problems] == [
        f"{a}8:29: {b}[0].sliding_window_log.limit: ",
        f"{a}11:18: {b}[1].rate_limit.store: ",
        f"{a}12:44: {b}[2].rate_limit.strict: ",
        f"{a}16:27: routes[1].policies[0].retry.attempts: ",
        f"{a}18:18: routes[1].policies[1].circuit_breaker.store: ",
    ]
    assert caught.value.problems[0].endswith(
        "expected a whole number of calls per period, at most 1000000, found '2000000/s'"
    )
    assert main([str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == list(caught.value.problems)


def test_what_is_wrong_with_no_field_stands_at_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(options: Any, scope: Scope) -> Policy:
        raise ConfigError("someone: store: expected rain, found sun", "Timeout: two at once")

    file = tmp_path / "stack.yaml"
    file.write_text(GOOD)
    monkeypatch.setattr(registry.policy("timeout"), "build", refuse)
    with pytest.raises(ConfigError) as caught:
        load_stack(file, {})
    assert caught.value.problems == (
        f"{file}:21:18: routes[0].policies[6].timeout: someone: store: expected rain, found sun",
        f"{file}:21:18: routes[0].policies[6].timeout: two at once",
    )


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

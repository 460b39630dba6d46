from __future__ import annotations

from pathlib import Path

import pytest
from tests.gateway.probe_stack import changed, refused

pytestmark = pytest.mark.usefixtures("plugins")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("listen: 127.0.0.1:8080\n", "", "2:1: expected the field 'listen', found none"),
        (
            "listen: 127.0.0.1:8080",
            "listen: 127.0.0.1",
            (
                "2:9: listen: expected an address such as '127.0.0.1:8080' or '[::1]:8080', "
                "found '127.0.0.1'"
            ),
        ),
        (
            "workers: 2",
            "workers: three",
            "4:10: workers: expected an integer from 1 to 1024, found 'three'",
        ),
        ("workers: 2", "workers: 0", "4:10: workers: expected an integer from 1 to 1024, found 0"),
        (
            "workers: 2",
            "worker: 2",
            (
                "4:1: worker: expected one of the fields admin, drain_timeout, explain, limits, "
                "listen, routes, trusted_proxies, upstreams, workers; found 'worker' "
                "(did you mean 'workers'?)"
            ),
        ),
        (
            "admin: 127.0.0.1:8081",
            "admin: localhost:8080",
            "3:8: admin: expected another address than listen, found 'localhost:8080'",
        ),
        (
            "balance: least_connections",
            "balance: luck",
            (
                "8:14: upstreams.shop.balance: expected one of the balancers consistent_hash, "
                "least_connections, p2c, peak_ewma, round_robin, weighted_round_robin; found 'luck'"
            ),
        ),
        (
            "interval: 2s",
            "interval: 2 parsecs",
            (
                "9:39: upstreams.shop.health.interval: expected a duration above zero such as "
                "'250ms', '2s' or '5m'; found '2 parsecs'"
            ),
        ),
        (
            "127.0.0.1:9002",
            "127.0.0.1:9001",
            (
                "7:31: upstreams.shop.targets[1]: expected each target once, "
                "found 'http://127.0.0.1:9001' again (first in upstreams.shop.targets[0])"
            ),
        ),
        (
            "127.0.0.1:9002",
            "127.0.0.1:8081",
            (
                "7:31: upstreams.shop.targets[1]: expected a service behind the gateway, "
                "found its own admin"
            ),
        ),
        (
            "http://127.0.0.1:9003",
            "https://127.0.0.1:9003",
            (
                "7:47: upstreams.shop.targets[2]: expected http, since the gateway speaks no TLS "
                "to targets, found 'https://127.0.0.1:9003'"
            ),
        ),
        (
            "127.0.0.1:9002",
            "shop",
            (
                "7:31: upstreams.shop.targets[1]: expected an address such as '127.0.0.1:9001' or "
                "'http://shop.internal:9001', found 'shop'"
            ),
        ),
        (
            'targets: [127.0.0.1:9001, 127.0.0.1:9002, {url: "http://127.0.0.1:9003", weight: 2}]',
            "targets: []",
            "7:14: upstreams.shop.targets: expected 1 to 1000 items, found 0",
        ),
        (
            "path: /api/",
            "path: api/",
            (
                "11:11: routes[0].path: expected a path that begins with '/' and has no '?', '#' "
                "or blank; found 'api/'"
            ),
        ),
        (
            "[GET, POST]",
            "[GET, post]",
            (
                "12:20: routes[0].methods[1]: expected a method in capitals such as 'GET', "
                "found 'post'"
            ),
        ),
        (
            "upstream: shop",
            "upstream: shp",
            (
                "13:15: routes[0].upstream: expected one of the upstreams shop; found 'shp' "
                "(did you mean 'shop'?)"
            ),
        ),
        (
            "attempts: 4",
            "attempts: three",
            "18:27: routes[0].policies[3].again.attempts: expected an integer >= 1, found 'three'",
        ),
        (
            "attempts: 4",
            "atempts: 4",
            (
                "18:17: routes[0].policies[3].again.atempts: expected one of the fields attempts, "
                "budget, names; found 'atempts' (did you mean 'attempts'?)"
            ),
        ),
        (
            "attempts: 4",
            "attempts: 13",
            "18:16: routes[0].policies[3].again: expected another number of attempts, found 13",
        ),
        (
            "wait: 1s",
            "wait: soon",
            (
                "20:15: routes[0].policies[5].wait: expected a duration above zero such as "
                "'250ms', '2s' or '5m'; found 'soon'"
            ),
        ),
        (
            "- wait: 1s",
            "- wait",
            "20:9: routes[0].policies[5].wait: expected the field 'after', found none",
        ),
        (
            "- wait: 1s",
            "- {wait: 1s, keep: 1kB}",
            (
                "20:9: routes[0].policies[5]: expected a policy such as 'cache' or one "
                "'name: options', found a mapping of 2"
            ),
        ),
        (
            "- wait: 1s",
            "- 3",
            (
                "20:9: routes[0].policies[5]: expected a policy such as 'cache' or one "
                "'name: options', found 3"
            ),
        ),
        (
            "- again:\n",
            "- again: [3]\n",
            "19:16: routes[0].policies[4].again: expected a mapping, found a list",
        ),
        (
            "- again:\n",
            "- again: 3\n",
            "19:16: routes[0].policies[4].again: expected a mapping, found 3",
        ),
    ],
)
def test_says_where_and_what_is_wrong(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert refused(tmp_path, changed(old, new)) == [f"stack.yaml:{problem}"]


@pytest.mark.usefixtures("only_plugins")
def test_an_unknown_policy_is_met_with_the_known_ones(tmp_path: Path) -> None:
    assert refused(tmp_path, changed("- wait: 1s", "- wat: 1s\n      - kep")) == [
        (
            "stack.yaml:20:9: routes[0].policies[5].wat: expected one of the policies again, keep, "
            "wait; found 'wat' (did you mean 'wait'?)"
        ),
        (
            "stack.yaml:21:9: routes[0].policies[6].kep: expected one of the policies again, keep, "
            "wait; found 'kep' (did you mean 'keep'?)"
        ),
    ]


def test_reports_everything_at_once(tmp_path: Path) -> None:
    text = """
listen: 0.0.0.0:80
admin: 127.0.0.1:80
workers: many
upstreams:
  one: {targets: [a:1, a:1, b], balance: luck}
  two: 3
  three: {targets: [127.0.0.1:80]}
routes:
  - {path: /, upstream: on, policies: [{wait: 0}]}
  - {path: x, upstream: nine}
  - {path: /a, upstream: one, methods: [GET, PUT]}
  - {path: /a, upstream: one, methods: [PUT, DELETE]}
  - 7
limits: {body_size: lots}
"""
    lines = refused(tmp_path, text, ESCALA__drain_timeout="-1s")
    assert [line.split(": expected")[0] for line in lines] == [
        "ESCALA__drain_timeout: drain_timeout",
        "stack.yaml:3:8: admin",
        "stack.yaml:4:10: workers",
        "stack.yaml:6:24: upstreams.one.targets[1]",
        "stack.yaml:6:29: upstreams.one.targets[2]",
        "stack.yaml:6:42: upstreams.one.balance",
        "stack.yaml:7:8: upstreams.two",
        "stack.yaml:8:21: upstreams.three.targets[0]",
        "stack.yaml:8:21: upstreams.three.targets[0]",
        "stack.yaml:10:25: routes[0].upstream",
        "stack.yaml:10:47: routes[0].policies[0].wait",
        "stack.yaml:11:12: routes[1].path",
        "stack.yaml:11:25: routes[1].upstream",
        "stack.yaml:13:5: routes[3]",
        "stack.yaml:14:5: routes[4]",
        "stack.yaml:15:21: limits.body_size",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "stack.yaml: expected a mapping, found nothing"),
        ("3", "stack.yaml:1:1: expected a mapping, found 3"),
        ("[]", "stack.yaml:1:1: expected a mapping, found an empty list"),
        (
            "a: [",
            (
                "stack.yaml:2:1: expected YAML, found an error in it: "
                "did not find expected node content"
            ),
        ),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str, problem: str) -> None:
    assert refused(tmp_path, text) == [problem]


def test_empty_parts(tmp_path: Path) -> None:
    text = "listen: a:1\nupstreams: {}\nroutes: []\n"
    assert refused(tmp_path, text) == [
        "stack.yaml:2:12: upstreams: expected 1 to 1000 items, found 0",
        "stack.yaml:3:9: routes: expected 1 to 1000 items, found 0",
    ]
    assert refused(tmp_path, "listen: a:1\nupstreams:\nroutes: [{}]") == [
        "stack.yaml:2:11: upstreams: expected a mapping, found nothing",
        "stack.yaml:3:10: routes[0]: expected the field 'path', found none",
        "stack.yaml:3:10: routes[0]: expected the field 'upstream', found none",
    ]

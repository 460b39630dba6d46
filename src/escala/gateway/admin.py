"""The admin address: /metrics, /status, /healthz and /readyz, answered by the supervisor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec

from escala import __version__
from escala.gateway.exposition import CONTENT_TYPE, exposition
from escala.gateway.pure.merge import merged
from escala.http.message import HttpRequest, Response, plain
from escala.http.message import http_date as date


class Gateway(Protocol):
    """What the admin pages ask of the supervisor."""

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """The figures of every worker that answers, by index."""
        ...

    def own(self) -> dict[str, Any]:
        """What the supervisor knows itself: generation, restarts, the last reload."""
        ...

    def events(self, since: int) -> list[dict[str, Any]]:
        """What happened after event number `since`."""
        ...

    def readiness(self) -> str | None:
        """Why the gateway is not ready, None when it is."""
        ...


class Admin:
    """Answers operators and their tools; never reachable through the traffic's address."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._pages: dict[bytes, Callable[[HttpRequest], Awaitable[Response]]] = {
            b"/metrics": self._metrics,
            b"/status": self._status,
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
        }

    async def handle(self, request: HttpRequest) -> Response:
        """Find the page."""
        page = self._pages.get(request.path)
        if page is None:
            known = " ".join(path.decode() for path in self._pages)
            return plain(404, f"the admin pages are {known}")
        if request.method not in ("GET", "HEAD"):
            return plain(405, "admin pages are read with GET", (b"allow", b"GET, HEAD"))
        return await page(request)

    async def _healthz(self, _request: HttpRequest) -> Response:
        return plain(200, "alive")

    async def _readyz(self, _request: HttpRequest) -> Response:
        why_not = self._gateway.readiness()
        return plain(200, "ready") if why_not is None else plain(503, f"not ready: {why_not}")

    async def _metrics(self, _request: HttpRequest) -> Response:
        workers = await self._gateway.statuses()
        own = self._gateway.own()
        figures = {
            "workers": float(len(workers)),
            "worker_restarts": float(own["restarts"]),
            "reload_ok": float(own["reload"]["ok"]),
            "generation": float(own["generation"]),
        }
        body = exposition(workers, figures)
        return Response(200, [(b"content-type", CONTENT_TYPE), (b"date", date())], body)

    async def _status(self, request: HttpRequest) -> Response:
        query = parse_qs(request.target.partition(b"?")[2].decode("latin-1"))
        asked = query.get("since", ["0"])[0]
        since = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else 0  # noqa: PLR2004
        workers = await self._gateway.statuses()
        total = merged(list(workers.values())) if workers else {"routes": [], "upstreams": {}}
        for route in total["routes"]:
            route["by_status"] = _by_class(route["statuses"])
            route["cache"] = route["policies"].get("cache")
        status = {
            "version": __version__,
            **self._gateway.own(),
            "workers": [
                {
                    "index": int(index),
                    "pid": worker["pid"],
                    "requests": sum(route["requests"] for route in worker.get("routes", ())),
                    "connections": worker["connections"],
                    "rss_mb": round(worker["resident_bytes"] / 1e6, 2),
                }
                for index, worker in workers.items()
            ],
            "refused": total.get("refused", {}),
            "routes": total["routes"],
            "upstreams": total["upstreams"],
            "events": self._gateway.events(since),
        }
        headers = [(b"content-type", b"application/json"), (b"date", date())]
        return Response(200, headers, msgspec.json.encode(status) + b"\n")


def _by_class(statuses: dict[str, int]) -> dict[str, int]:
    classes: dict[str, int] = {}
    for status, count in statuses.items():
        name = f"{status[0]}xx"
        classes[name] = classes.get(name, 0) + count
    return classes

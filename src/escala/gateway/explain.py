"""Why a response is what it is, in headers: route, policies passed, target, attempts, cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from escala.http.message import HttpRequest, Response

if TYPE_CHECKING:
    from escala.gateway.route import Route

# Cache decisions that end the way through the stack.
_ANSWERS = frozenset({"hit", "stale", "coalesced"})


def explained(request: HttpRequest, response: Response, route: Route | None) -> Response:
    """The same response with `Escala-*` headers; the original may be shared with a cache."""
    notes = request.notes
    told = {"route": "none" if route is None else route.label}
    if route is not None:
        told["policies"] = ", ".join(_passed(route.kinds, notes)) or "none"
    told["target"] = notes.get("target", "none")
    told["attempts"] = str(len(request.tried))
    if "cache" in notes:
        told["cache"] = notes["cache"]
    if "cache_refused" in notes:
        told["cache-refused"] = notes["cache_refused"]
    if "fallback" in notes:
        told["fallback"] = notes["fallback"]
    if "reason" in notes:
        told["reason"] = notes["reason"]
    headers = [
        *response.headers,
        *((f"escala-{name}".encode(), value.encode("latin-1")) for name, value in told.items()),
    ]
    return Response(
        response.status,
        headers,
        response.body,
        length=response.length,
        upgraded=response.upgraded,
    )


def _passed(kinds: tuple[str, ...], notes: dict[str, str]) -> tuple[str, ...]:
    """The policies a request went through: up to who refused it, or answered in its place."""
    last = notes.get("rejected")
    if last is not None and last in kinds:
        return kinds[: kinds.index(last)]
    if notes.get("cache") in _ANSWERS and "cache" in kinds:
        return kinds[: kinds.index("cache") + 1]
    return kinds

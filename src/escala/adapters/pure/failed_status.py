"""Which HTTP statuses say that the service failed, and not the request."""

from __future__ import annotations

_REFUSES_FOR_NOW = 429
_SERVER_ERRORS = range(500, 600)
_WILL_NEVER_DO = (501, 505)  # not implemented, HTTP version not supported: no repeat helps


def failed_status(status: int) -> bool:
    """Whether a retry may help and a breaker should count: 429, and 5xx without 501 and 505."""
    return status == _REFUSES_FOR_NOW or (status in _SERVER_ERRORS and status not in _WILL_NEVER_DO)

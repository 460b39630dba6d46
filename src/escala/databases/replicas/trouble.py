"""What the errors of a first statement say about the node that it was sent to."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from escala.errors import Unavailable

# read_only_sql_transaction, and what a standby cannot do at all: feature_not_supported (an unlogged
# table, SERIALIZABLE) and object_not_in_prerequisite_state (locks)
_PRIMARYS = frozenset({"25006", "0A000", "55000"})
# admin_shutdown, crash_shutdown, cannot_connect_now, and what a standby cancels to go on replaying
_GOES = frozenset({"57P01", "57P02", "57P03", "40001"})


def needs_primary(error: BaseException) -> bool:
    """The server refused to write, or to do what no standby can."""
    return isinstance(error, DBAPIError) and _state(error) in _PRIMARYS


def gone(error: BaseException, *, connected: bool) -> bool:
    """The node does not answer, or is about to stop: another one may."""
    if isinstance(error, DBAPIError):
        return not connected or error.connection_invalidated or _state(error) in _GOES
    return not connected and isinstance(error, (OSError, Unavailable))


def _state(error: DBAPIError) -> str | None:
    original = error.orig
    state = getattr(original, "sqlstate", None)
    return state or getattr(getattr(original, "__cause__", None), "sqlstate", None)

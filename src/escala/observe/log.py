"""Events as log lines: see a breaker open or a target fall in the log you already read."""

from __future__ import annotations

import logging
from collections.abc import Callable

from escala.kernel.events import Event, subscribe


def log_events(
    logger: logging.Logger | None = None, *, kind: type[Event] = Event, level: int = logging.INFO
) -> Callable[[], None]:
    """Write every event of `kind` to `logger` ("escala" by default); returns the way to stop.

    The line reads `BreakerChanged payments: before=closed after=open reason=...`; the event
    itself is in the record's `event`, for handlers that want the fields.

    >>> stop = log_events()
    >>> stop()
    """
    target = logger or logging.getLogger("escala")

    def write(event: Event) -> None:
        if target.isEnabledFor(level):
            told = " ".join(
                f"{field}={getattr(value, 'value', value)}"
                for field in event.__struct_fields__
                if field not in ("name", "at")
                for value in (getattr(event, field),)
            )
            target.log(
                level, "%s %s: %s", type(event).__name__, event.name, told, extra={"event": event}
            )

    return subscribe(kind, write)

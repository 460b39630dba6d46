"""One shard as the coordinator of a move sees it: its name, its server, one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from escala.databases.resharding.waiting import now, wait_until
from escala.errors import CannotReshard, ConfigError
from escala.kernel.wrong_value import without_password

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

# A server that is gone is noticed in seconds; one whose coordinator is gone stops what it does
# for it. Text of values is the same on all shards.
_SETTINGS = {
    "application_name": "escala reshard",
    "client_connection_check_interval": "100ms",
    "bytea_output": "hex",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
}
_RENEWAL = 15.0  # seconds until the statements of a connection that is lost have ended
_TRANSPORT = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "target_session_attrs": "read-write",
}


class Node:
    """Asks the primary of a shard, in the caller's thread; `connection` holds session locks."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self._connection: Connection[Any] | None = None
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r})"

    @property
    def conninfo(self) -> str:
        """Where it is, for libpq; the shards' servers connect to each other with the same."""
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        scheme, found, rest = self.url.partition("://")
        url = f"{scheme.partition('+')[0]}{found}{rest}"
        return make_conninfo(**{**_TRANSPORT, **cast("dict[str, Any]", conninfo_to_dict(url))})

    def connect(self) -> Connection[Any]:
        """One more connection, in autocommit."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        ours = (
            f" -c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in _SETTINGS.items()
        )
        try:
            theirs = str(conninfo_to_dict(self.conninfo).get("options") or "")
            options = theirs + "".join(ours)
            return psycopg.connect(self.conninfo, autocommit=True, options=options)
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"Reshard: {self.name}: {without_password(str(error))}") from error
        except psycopg.OperationalError as error:
            raise CannotReshard(
                f"{self.name} does not answer at {without_password(self.url)}: {_first(error)}"
            ) from error

    @property
    def connection(self) -> Connection[Any]:
        """The connection of this coordinator to this shard."""
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def hold(self, lock: int) -> bool:
        """Take an advisory lock for as long as there is a connection; False if another has it."""
        self._lock = lock
        return bool(self.value(f"SELECT pg_try_advisory_lock({lock})"))

    def renew(self) -> None:
        """Connect anew. Raises `CannotReshard` when someone else took the lock meanwhile."""
        self.close()
        if self._lock is None:
            return
        until = now() + _RENEWAL
        wait_until(partial(self.hold, self._lock), until, f"the lock on {self.name} to be free")

    def rows(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """The rows of an answer; none for a statement that has no answer."""
        answer = self._run(sql, values)
        return answer.fetchall() if answer.description else []

    def count(self, sql: str) -> int:
        """How many rows a statement has changed."""
        return self._run(sql, ()).rowcount

    def value(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> Any:  # noqa: ANN401  whatever SQL has
        """The first value of the first row, None without one."""
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    def _run(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> Cursor[Any]:
        import psycopg

        try:
            # Without values nothing is read as a placeholder: a filter may hold a percent sign.
            return self.connection.execute(sql, values or None)
        except psycopg.Error as error:
            error.add_note(self.name)
            raise

    def close(self) -> None:
        """End the connection, and with it every lock that it holds."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no reason given"]
    return next((line for line in lines if not line.startswith("Multiple ")), lines[0]).strip()


def literal(text: str) -> str:
    """A string in SQL that takes no parameters."""
    quoted = text.replace("'", "''")
    return f"'{quoted}'" if "\\" not in text else " E'" + quoted.replace("\\", "\\\\") + "'"


def identifier(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'

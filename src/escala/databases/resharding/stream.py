"""Rows and changes that flow from one shard to another, by PostgreSQL's logical replication."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from escala.databases.resharding.barrier import BARRIER
from escala.databases.resharding.node import Node, literal
from escala.databases.resharding.patience import PATIENCE
from escala.databases.resharding.selection import Selection
from escala.databases.resharding.waiting import TooLate, wait_until
from escala.errors import CannotReshard


class Stream:
    """One direction of a move; `name` is that of its publication, slot and subscription.

    Each method may be called again after a coordinator died in the middle of it. Truncating is
    not published: it would empty the whole table at the other end.
    """

    def __init__(
        self, name: str, publisher: Node, subscriber: Node, selections: Sequence[Selection]
    ) -> None:
        self.name, self.publisher, self.subscriber = name, publisher, subscriber
        self.selections = selections

    def make(self, *, copy: bool) -> None:
        """Make it: running from a copy of the rows on, or stopped and without the rows."""
        publisher, subscriber, name = self.publisher, self.subscriber, self.name
        subscribed = subscriber.value("SELECT 1 FROM pg_subscription WHERE subname = %s", (name,))
        if not publisher.value("SELECT 1 FROM pg_publication WHERE pubname = %s", (name,)):
            tables = [f"{each.table.sql} WHERE ({each.rows})" for each in self.selections]
            tables.append(f"{BARRIER} WHERE (stream = {literal(name)})")
            publisher.rows(
                f"CREATE PUBLICATION {name} FOR TABLE {', '.join(tables)} "
                "WITH (publish = 'insert, update, delete')"
            )
        if not publisher.value("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (name,)):
            if subscribed:
                raise CannotReshard(
                    f"{publisher.name} has lost the replication slot {name}, and the changes that "
                    "it kept: abort, and begin anew"
                )
            # Waits for the transactions that run now. By itself, because a subscription that
            # makes its slot may leave it behind.
            _make_slot(publisher, name)
        if not subscribed:
            yes, no = "true", "false"
            subscriber.rows(
                f"CREATE SUBSCRIPTION {name} CONNECTION {literal(publisher.conninfo)} "
                f"PUBLICATION {name} WITH (create_slot = false, slot_name = {name}, "
                f"copy_data = {yes if copy else no}, enabled = {yes if copy else no}, "
                "streaming = off, synchronous_commit = off)"
            )

    def start(self) -> None:
        """Let changes flow."""
        self.subscriber.rows(f"ALTER SUBSCRIPTION {self.name} ENABLE")

    def stop(self, until: float) -> None:
        """Let no change arrive any more: when this returns no worker is left that would apply it.

        Disabling alone only asks the worker, which may look a second later.
        """
        self.subscriber.rows(f"ALTER SUBSCRIPTION {self.name} DISABLE")

        def gone() -> bool:
            return not self.subscriber.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_subscription "
                "WHERE subname = %s AND pid IS NOT NULL",
                (self.name,),
            )

        wait_until(gone, until, f"the worker of {self.name} on {self.subscriber.name} to end")

    def start_from(self, position: str) -> None:
        """Leave out what was committed before this position of the publisher's log.

        Only while it is stopped. Kept by the subscriber, so that a crash of either does not
        bring back what is left out.
        """
        self.subscriber.rows(
            "SELECT pg_replication_origin_advance('pg_' || oid, %s::pg_lsn) "
            "FROM pg_subscription WHERE subname = %s",
            (position, self.name),
        )

    def tables_left(self) -> int:
        """How many tables are not yet copied and joined to the stream of changes."""
        return int(
            self.subscriber.value(
                "SELECT count(*) FROM pg_subscription_rel r JOIN pg_subscription s "
                "ON s.oid = r.srsubid WHERE s.subname = %s AND r.srsubstate <> 'r'",
                (self.name,),
            )
        )

    def rows_copied(self) -> int:
        """How many rows the copies under way have so far."""
        return int(
            self.subscriber.value(
                "SELECT coalesce(sum(p.tuples_processed), 0) FROM pg_stat_progress_copy p "
                "JOIN pg_stat_subscription s ON s.pid = p.pid WHERE s.subname = %s",
                (self.name,),
            )
        )

    def copies(self) -> str:
        """Where the workers that copy are in the publisher's log: another text when one gets on."""
        return str(
            self.subscriber.value(
                "SELECT string_agg(latest_end_lsn::text, ' ' ORDER BY relid) "
                "FROM pg_stat_subscription WHERE subname = %s AND relid IS NOT NULL",
                (self.name,),
            )
        )

    def failures(self) -> int:
        """How often a worker of the subscription failed."""
        return int(
            self.subscriber.value(
                "SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats "
                "WHERE subname = %s",
                (self.name,),
            )
            or 0
        )

    def lag_bytes(self) -> int:
        """How much of the publisher's log the subscriber has not confirmed; 0 without a slot."""
        return int(
            self.publisher.value(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint "
                "FROM pg_replication_slots WHERE slot_name = %s",
                (self.name,),
            )
            or 0
        )

    def drop(self, until: float) -> None:
        """Take away subscription, slots and publication, as far as they are there."""
        name, publisher, subscriber = self.name, self.publisher, self.subscriber
        made = subscriber.value("SELECT oid FROM pg_subscription WHERE subname = %s", (name,))
        if made is not None:
            with subscriber.connection.transaction():
                subscriber.rows(f"ALTER SUBSCRIPTION {name} DISABLE")
                subscriber.rows(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                subscriber.rows(f"DROP SUBSCRIPTION {name}")
        wait_until(self._without_slots(made), until, f"the slots of {name} to be free")
        publisher.rows(f"DROP PUBLICATION IF EXISTS {name}")

    def _without_slots(self, made: int | None) -> Callable[[], bool]:
        """Drop the slot and those of copies under way, unless a sender still holds one of them."""
        copies = "" if made is None else f"pg_{made}_sync_%"

        def gone() -> bool:
            self.publisher.rows(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE (slot_name = %s OR slot_name LIKE %s) AND active",
                (self.name, copies),
            )
            self.publisher.rows(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE (slot_name = %s OR slot_name LIKE %s) AND NOT active",
                (self.name, copies),
            )
            return not self.publisher.rows(
                "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s OR slot_name LIKE %s",
                (self.name, copies),
            )

        return gone


def _make_slot(node: Node, name: str) -> None:
    import psycopg

    node.rows(f"SET statement_timeout = {int(PATIENCE * 1000)}")
    try:
        node.rows("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    except psycopg.errors.QueryCanceled as error:
        raise TooLate(
            f"waited in vain for transactions on {node.name} that write and do not end "
            "(see pg_stat_activity, pg_prepared_xacts)"
        ) from error
    finally:
        if not node.connection.broken:
            node.rows("RESET statement_timeout")

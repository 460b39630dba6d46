"""What PostgreSQL runs for each decision: check all limits of a key, then charge all or none."""

from __future__ import annotations

# The numbers in a row are those of the machines in `pure`, in the same order, on a clock that
# counts from 2026, since a float of seconds from 1970 is too coarse for fast limits. The clock is
# read when the row is locked. When it was set back, what the row holds moves with it.
#
# The rules are those of `pure`, once more and as short as they go: whether the tokens are there.
# All else of an answer the machines find out from the numbers. 0.000001 is their slack.
#
# A negative cost gives back. `hand` is where the caller last looked for rows to clear away.
SCHEMA = """
DO $do$ BEGIN
IF to_regprocedure(
    'escala_limit_1(bytea, text, float8[], float8[], float8[], float8[], float8, float8, bytea)'
) IS NULL OR to_regclass('escala_limits') IS NULL THEN
PERFORM pg_advisory_xact_lock(7342190655123);

CREATE UNLOGGED TABLE IF NOT EXISTS escala_limits (
    key bytea PRIMARY KEY,
    numbers float8[] NOT NULL,
    seen float8 NOT NULL,
    ends float8 NOT NULL
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION escala_limit_1(
    name bytea, algorithm text, fresh float8[], bursts float8[], rates float8[], periods float8[],
    cost float8, wait float8, hand bytea,
    OUT now float8, OUT granted boolean, OUT ahead float8, OUT state float8[], OUT looked_at bytea
) LANGUAGE plpgsql AS $body$
DECLARE
    kept escala_limits%ROWTYPE;
    n int := cardinality(bursts);
    w int := cardinality(fresh) / n;
    p int;
    back float8;
    clock float8;
    used float8;
    last float8 := '-Infinity';
    added boolean := false;
BEGIN
    LOOP
        SELECT * INTO kept FROM escala_limits AS l WHERE l.key = name FOR UPDATE;
        EXIT WHEN FOUND;
        IF cost < 0 THEN
            RETURN;
        END IF;
        INSERT INTO escala_limits VALUES (name, fresh, '-Infinity', '-Infinity')
            ON CONFLICT DO NOTHING;
        added := true;
    END LOOP;
    now := extract(epoch FROM clock_timestamp()) - 1767225600;
    state := kept.numbers;
    back := kept.seen - now;
    granted := true;
    ahead := 0;

    FOR i IN 1..n LOOP
        p := (i - 1) * w + 1;
        IF algorithm = 'bucket' THEN
            IF back > 0 THEN
                state[p] := state[p] - back * rates[i];
            END IF;
            clock := now * rates[i];
            used := greatest(state[p], clock) + cost - clock - bursts[i];
            IF cost > 0 AND used > 0.000001 THEN
                ahead := greatest(ahead, used / rates[i]);
            END IF;
        ELSIF algorithm = 'fixed_window' THEN
            IF back > 0 THEN
                state[p] := state[p] - back;
            END IF;
            IF state[p] <= now THEN
                state[p] := CASE WHEN cost > 0 THEN now + periods[i] ELSE state[p] END;
                state[p + 1] := 0;
            END IF;
            granted := granted AND state[p + 1] + cost <= bursts[i];
        ELSE
            clock := floor(now / periods[i]);
            IF back > 0 AND state[p] > clock THEN
                state[p] := clock;
            ELSIF state[p] <> clock THEN
                state[p + 1] := CASE state[p] WHEN clock - 1 THEN state[p + 2] ELSE 0 END;
                state[p + 2] := 0;
                state[p] := clock;
            END IF;
            used := state[p + 1] * (1 - (now / periods[i] - clock)) + state[p + 2];
            granted := granted AND used + cost <= bursts[i] + 0.000001;
        END IF;
    END LOOP;

    IF ahead > wait THEN
        granted := false;
        ahead := 0;
    END IF;
    IF granted THEN
        FOR i IN 1..n LOOP
            p := (i - 1) * w + 1;
            IF algorithm = 'bucket' THEN
                IF cost > 0 THEN
                    state[p] := greatest(state[p], (now + ahead) * rates[i]);
                END IF;
                state[p] := state[p] + cost;
                last := greatest(last, state[p] / rates[i]);
            ELSIF algorithm = 'fixed_window' THEN
                state[p + 1] := greatest(0, state[p + 1] + cost);
                last := greatest(last, state[p]);
            ELSE
                used := state[p + 2] + cost;
                state[p + 2] := greatest(0, used);
                state[p + 1] := greatest(0, state[p + 1] + least(0, used));
                last := greatest(last, (state[p] + 2) * periods[i]);
            END IF;
        END LOOP;
        UPDATE escala_limits AS l SET numbers = state, seen = now, ends = last
            WHERE l.key = name;
    END IF;

    looked_at := hand;
    IF added THEN
        WITH looked AS (
            SELECT l.key FROM escala_limits AS l WHERE l.key > hand ORDER BY l.key LIMIT 8
        ), old AS (
            SELECT l.key FROM escala_limits AS l JOIN looked USING (key)
            WHERE l.ends < now AND l.key <> name FOR UPDATE OF l SKIP LOCKED
        ), gone AS (
            DELETE FROM escala_limits AS l USING old WHERE l.key = old.key
        )
        SELECT coalesce((array_agg(l.key ORDER BY l.key))[8], '') INTO looked_at FROM looked AS l;
    END IF;
END $body$;
END IF;
END $do$
"""
ASK = "SELECT * FROM escala_limit_1($1::bytea, $2, $3, $4, $5, $6, $7, $8, $9::bytea)"
PEEK = """
SELECT extract(epoch FROM clock_timestamp()) - 1767225600, numbers, seen
FROM (SELECT 1) AS one LEFT JOIN escala_limits ON key = $1::bytea
"""
RESET = "DELETE FROM escala_limits WHERE key = $1::bytea"

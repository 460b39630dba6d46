"""What PostgreSQL runs for the second level: one function and one round trip for each verb."""

# ruff: noqa: S608  what is put into the texts stands in this file

from __future__ import annotations

# `escala_values` has a row for each key: the blob and what its header says, the lease, and the
# end of a hold-off. `escala_value_lives` has one for each cache: its epoch, its clock, the floor
# of its tags, when all were deleted and expired, how many tags there are, the end of a hold-off
# for all, and the last end of one for any tag; `escala_value_tags` when a tag was deleted and
# expired, and the end of its hold-off. Names are digests of 16 bytes, since an index has no room
# for long ones. Times are seconds of the server's clock. All is unlogged.
#
# Nothing is serialised as in Redis, so two rules make it right. Whether a blob is valid is decided
# by one statement, which sees all tables as of one moment: what a store has overlooked because it
# was not committed yet, each later read sees. And whoever changes a row has locked it before it
# looks, in the order of the keys, and the cache's life last; so no two wait for each other.
#
# Plans are made once for each connection, which is three times as fast as once for each call; and
# a good plan for a small table would be a bad one when it has grown: so no sequential scans.
_TABLES = """
CREATE UNLOGGED TABLE IF NOT EXISTS escala_values (
    key bytea PRIMARY KEY,
    blob bytea,
    epoch bytea,
    clock int8,
    born float8,
    fresh float8,
    stale float8,
    tags bytea[],
    ends float8,
    hit boolean NOT NULL DEFAULT false,
    token bytea,
    until float8 NOT NULL DEFAULT 0,
    held float8 NOT NULL DEFAULT 0,
    over float8 NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE escala_values ALTER COLUMN blob SET STORAGE EXTERNAL;

CREATE UNLOGGED TABLE IF NOT EXISTS escala_value_lives (
    cache bytea PRIMARY KEY,
    epoch bytea NOT NULL,
    clock int8 NOT NULL DEFAULT 0,
    floor int8 NOT NULL DEFAULT 0,
    gone int8 NOT NULL DEFAULT 0,
    expired int8 NOT NULL DEFAULT 0,
    tags int8 NOT NULL DEFAULT 0,
    paused float8 NOT NULL DEFAULT 0,
    latest float8 NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE IF NOT EXISTS escala_value_tags (
    cache bytea,
    tag bytea,
    gone int8 NOT NULL,
    expired int8 NOT NULL,
    held float8 NOT NULL,
    PRIMARY KEY (cache, tag)
) WITH (fillfactor = 70);
"""

_PLANS = "SET enable_seqscan = off SET plan_cache_mode = force_generic_plan"
_NOW = "date_part('epoch', clock_timestamp())"

# The cache's life, begun if there is none. 60 of the epoch's bits are random.
_LIFE = f"""
CREATE OR REPLACE FUNCTION escala_value_life_1(mine bytea) RETURNS escala_value_lives
LANGUAGE plpgsql {_PLANS} AS $body$
DECLARE
    life escala_value_lives;
BEGIN
    LOOP
        SELECT * INTO life FROM escala_value_lives AS l WHERE l.cache = mine;
        IF FOUND THEN
            RETURN life;
        END IF;
        INSERT INTO escala_value_lives (cache, epoch)
            VALUES (mine, substring(uuid_send(gen_random_uuid()) FOR 8)) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            DELETE FROM escala_value_tags AS t WHERE t.cache = mine;
            PERFORM pg_notify('escala_' || encode(mine, 'hex'), 'anew');
        END IF;
    END LOOP;
END $body$;
"""

# Looks once, and once more at the keys whose lease it has taken: if someone has stored a value
# between, the lease is given back. Rows come in any order.
_READ = f"""
CREATE OR REPLACE FUNCTION escala_value_read_1(
    mine bytea, keys bytea[], lease float8, early boolean, ours bytea
) RETURNS TABLE (
    place bytea, life bytea, moment int8, now float8,
    value bytea, soft boolean, lent boolean, wait float8
) LANGUAGE plpgsql {_PLANS} AS $body$
DECLARE
    asked bytea[] := keys;
    wanted bytea[] := '{{}}';
    taken boolean := false;
    due boolean;
    r record;
BEGIN
    LOOP
        now := {_NOW};
        place := NULL;
        FOR r IN
            SELECT
                k.key, l.epoch, l.clock, v.blob, v.token, v.until, v.held,
                v.epoch = l.epoch AND v.clock <= l.clock AND v.clock >= l.gone
                    AND (v.tags IS NULL OR v.clock >= l.floor AND v.clock >= coalesce(t.gone, 0))
                    AND now < v.ends AND v.born <= now + 1 AND now < v.born + v.fresh + v.stale
                    AS there,
                v.hit OR v.clock < greatest(l.expired, t.expired) AS expired,
                now >= v.born + v.fresh AS old
            FROM escala_value_lives AS l
            CROSS JOIN unnest(asked) AS k (key)
            LEFT JOIN LATERAL (
                SELECT * FROM escala_values AS w WHERE w.key = k.key OFFSET 0
            ) AS v ON true
            LEFT JOIN LATERAL (
                SELECT max(w.gone) AS gone, max(w.expired) AS expired
                FROM escala_value_tags AS w WHERE w.cache = mine AND w.tag = ANY (v.tags)
            ) AS t ON true
            WHERE l.cache = mine
        LOOP
            place := r.key;
            life := r.epoch;
            moment := r.clock;
            value := NULL;
            soft := false;
            due := true;
            IF r.there THEN
                value := r.blob;
                soft := r.expired;
                due := soft OR r.old;
            END IF;
            due := lease > 0 AND (early OR due);
            lent := taken AND r.token = ours AND due;
            lent := coalesce(lent, false);
            wait := 0;
            IF taken AND r.token = ours AND NOT due THEN
                UPDATE escala_values AS v SET token = NULL, until = 0 WHERE v.key = place;
            ELSIF due AND NOT taken
                AND now >= coalesce(r.until, 0) AND now >= coalesce(r.held, 0) THEN
                wanted := wanted || place;
                CONTINUE;
            ELSIF NOT lent THEN
                wait := greatest(0, coalesce(r.until, 0) - {_NOW});
            END IF;
            RETURN NEXT;
        END LOOP;
        IF place IS NULL THEN
            EXIT WHEN cardinality(asked) = 0;
            PERFORM escala_value_life_1(mine);
            CONTINUE;
        END IF;
        EXIT WHEN cardinality(wanted) = 0;
        INSERT INTO escala_values AS v (key, token, until, over)
            SELECT k, ours, now + lease, now + lease FROM unnest(wanted) AS k ORDER BY k
            ON CONFLICT (key) DO UPDATE
                SET token = ours, until = excluded.until, over = greatest(v.over, excluded.over)
                WHERE v.until <= now AND v.held <= now;
        asked := wanted;
        wanted := '{{}}';
        taken := true;
    END LOOP;
END $body$;
"""

_CLAIM = f"""
CREATE OR REPLACE FUNCTION escala_value_claim_1(
    mine bytea, keys bytea[], lease float8, ours bytea, told text[],
    OUT life bytea, OUT moment int8, OUT now float8
) LANGUAGE plpgsql {_PLANS} AS $body$
BEGIN
    SELECT l.epoch, l.clock INTO life, moment FROM escala_value_life_1(mine) AS l;
    now := {_NOW};
    INSERT INTO escala_values AS v (key, token, until, over)
        SELECT k, ours, now + lease, now + lease FROM unnest(keys) AS k ORDER BY k
        ON CONFLICT (key) DO UPDATE
            SET blob = NULL, epoch = NULL, tags = NULL, hit = false,
                token = ours, until = excluded.until, over = greatest(v.held, excluded.over);
    PERFORM pg_notify('escala_' || encode(mine, 'hex'), t) FROM unnest(told) AS t;
END $body$;
"""

# Keys come in order. Of each put five numbers, and so many of the tags as are its own. Answers
# with a "1" or a "0" for each, and where to look next for rows that are over.
_STORE = f"""
CREATE OR REPLACE FUNCTION escala_value_store_1(
    mine bytea, keys bytea[], tokens bytea[], blobs bytea[], epochs bytea[], numbers float8[],
    names bytea[], counts float8[], told text[], whose float8[], hand bytea,
    OUT kept text, OUT looked_at bytea
) LANGUAGE plpgsql {_PLANS} AS $body$
DECLARE
    now float8;
    since int8;
    begun float8;
    ended float8;
    own bytea[];
    at int := 0;
    r record;
BEGIN
    PERFORM escala_value_life_1(mine);
    kept := '';
    FOR n IN 1..cardinality(keys) LOOP
        SELECT v.token, v.until, v.held INTO r
            FROM escala_values AS v WHERE v.key = keys[n] FOR UPDATE;
        since := numbers[5 * n - 4];
        begun := numbers[5 * n - 3];
        own := NULL;
        IF counts[n] > 0 THEN
            own := names[at + 1:at + counts[n]::int];
            at := at + counts[n];
        END IF;
        IF r.token IS NULL OR r.token <> tokens[n] THEN
            kept := kept || '0';
            CONTINUE;
        END IF;
        now := {_NOW};
        ended := now + numbers[5 * n];
        IF blobs[n] IS NOT NULL AND now < r.until AND now >= r.held AND EXISTS (
            SELECT FROM escala_value_lives AS l
            WHERE l.cache = mine AND l.epoch = epochs[n] AND since <= l.clock AND since >= l.gone
                AND (own IS NULL OR since >= l.floor) AND begun >= l.paused
                AND NOT EXISTS (
                    SELECT FROM escala_value_tags AS t
                    WHERE t.cache = mine AND t.tag = ANY (own)
                        AND (since < t.gone OR begun < t.held)
                )
        ) THEN
            UPDATE escala_values AS v SET
                blob = blobs[n], epoch = epochs[n], clock = since, born = begun,
                fresh = numbers[5 * n - 2], stale = numbers[5 * n - 1], tags = own,
                ends = ended, hit = false, token = NULL, until = 0,
                over = greatest(ended, r.held)
                WHERE v.key = keys[n];
            kept := kept || '1';
        ELSE
            UPDATE escala_values AS v SET token = NULL, until = 0 WHERE v.key = keys[n];
            kept := kept || '0';
        END IF;
    END LOOP;
    PERFORM pg_notify('escala_' || encode(mine, 'hex'), t.text)
        FROM unnest(told, whose) AS t (text, n) WHERE substring(kept FROM t.n::int FOR 1) = '1';

    now := {_NOW};
    WITH looked AS (
        SELECT v.key FROM escala_values AS v WHERE v.key > hand ORDER BY v.key LIMIT 8
    ), old AS (
        SELECT v.key FROM escala_values AS v JOIN looked USING (key)
        WHERE v.over < now FOR UPDATE OF v SKIP LOCKED
    ), gone AS (
        DELETE FROM escala_values AS v USING old WHERE v.key = old.key
    )
    SELECT coalesce((array_agg(l.key ORDER BY l.key))[8], '') INTO looked_at FROM looked AS l;
END $body$;
"""

_RELEASE = f"""
CREATE OR REPLACE FUNCTION escala_value_release_1(keys bytea[], tokens bytea[]) RETURNS void
LANGUAGE plpgsql {_PLANS} AS $body$
BEGIN
    FOR n IN 1..cardinality(keys) LOOP
        DELETE FROM escala_values AS v
            WHERE v.key = keys[n] AND v.token = tokens[n] AND v.blob IS NULL AND v.held <= {_NOW};
        IF NOT FOUND THEN
            UPDATE escala_values AS v SET token = NULL, until = 0
                WHERE v.key = keys[n] AND v.token = tokens[n];
        END IF;
    END LOOP;
END $body$;
"""

# Keys come in order. `everything`: 1 deletes all, 2 expires all, 3 both.
_INVALIDATE = f"""
CREATE OR REPLACE FUNCTION escala_value_invalidate_1(
    mine bytea, keys bytea[], softly boolean[], names bytea[], gently boolean[],
    everything float8, hold float8, most float8, told text[]
) RETURNS void LANGUAGE plpgsql {_PLANS} AS $body$
DECLARE
    now float8;
    later float8;
    tick int8;
    forgotten boolean := false;
    life escala_value_lives;
BEGIN
    PERFORM escala_value_life_1(mine);
    now := {_NOW};
    FOR n IN 1..cardinality(keys) LOOP
        IF hold > 0 THEN
            INSERT INTO escala_values AS v (key, held, over)
                VALUES (keys[n], now + hold, now + hold)
                ON CONFLICT (key) DO UPDATE SET held = greatest(v.held, excluded.held);
        END IF;
        IF softly[n] THEN
            UPDATE escala_values AS v
                SET hit = true, token = NULL, until = 0, held = greatest(v.held, now + hold),
                    over = greatest(v.over, now + hold)
                WHERE v.key = keys[n] AND v.blob IS NOT NULL;
            CONTINUE WHEN FOUND;
        END IF;
        IF hold <= 0 THEN
            DELETE FROM escala_values AS v WHERE v.key = keys[n] AND v.held <= now;
            CONTINUE WHEN FOUND;
        END IF;
        UPDATE escala_values AS v
            SET blob = NULL, epoch = NULL, tags = NULL, hit = false, token = NULL, until = 0,
                held = greatest(v.held, now + hold), over = greatest(v.held, now + hold)
            WHERE v.key = keys[n];
    END LOOP;

    IF everything > 0 OR cardinality(names) > 0 THEN
        SELECT * INTO life FROM escala_value_lives AS l WHERE l.cache = mine FOR UPDATE;
        tick := life.clock + 1;
        later := CASE WHEN hold > 0 THEN {_NOW} + hold ELSE 0 END;
        life.latest := greatest(life.latest, later);
        FOR n IN 1..cardinality(names) LOOP
            UPDATE escala_value_tags AS t SET
                gone = CASE WHEN gently[n] THEN t.gone ELSE tick END,
                expired = CASE WHEN gently[n] THEN tick ELSE t.expired END,
                held = greatest(t.held, later)
                WHERE t.cache = mine AND t.tag = names[n];
            IF FOUND THEN
                CONTINUE;
            ELSIF life.tags < most THEN
                INSERT INTO escala_value_tags VALUES (
                    mine, names[n],
                    CASE WHEN gently[n] THEN 0 ELSE tick END,
                    CASE WHEN gently[n] THEN tick ELSE 0 END,
                    later
                );
                life.tags := life.tags + 1;
            ELSE
                DELETE FROM escala_value_tags AS t WHERE t.cache = mine;
                life.tags := 0;
                life.floor := tick;
                life.paused := life.latest;
            END IF;
        END LOOP;
        IF everything > 0 THEN
            life.paused := greatest(life.paused, later);
        END IF;
        IF everything >= 2 THEN
            life.expired := tick;
        END IF;
        IF everything IN (1, 3) THEN
            DELETE FROM escala_value_tags AS t WHERE t.cache = mine;
            life.tags := 0;
            life.floor := tick;
            life.gone := tick;
            life.paused := greatest(life.paused, life.latest);
        END IF;
        UPDATE escala_value_lives AS l SET
            clock = tick, floor = life.floor, gone = life.gone, expired = life.expired,
            tags = life.tags, paused = life.paused, latest = life.latest
            WHERE l.cache = mine;
    END IF;
    PERFORM pg_notify('escala_' || encode(mine, 'hex'), t) FROM unnest(told) AS t;
END $body$;
"""

SCHEMA = f"""
SET default_transaction_isolation = 'read committed';
DO $do$ BEGIN
IF to_regprocedure(
    'escala_value_invalidate_1('
    'bytea, bytea[], boolean[], bytea[], boolean[], float8, float8, float8, text[])'
) IS NULL THEN
PERFORM pg_advisory_xact_lock(7342190655124);
{_TABLES}{_LIFE}{_READ}{_CLAIM}{_STORE}{_RELEASE}{_INVALIDATE}
END IF;
END $do$
"""
READ = "SELECT * FROM escala_value_read_1($1, $2, $3, $4, $5)"
CLAIM = "SELECT * FROM escala_value_claim_1($1, $2, $3, $4, $5)"
STORE = "SELECT * FROM escala_value_store_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
RELEASE = "SELECT escala_value_release_1($1, $2)"
INVALIDATE = "SELECT escala_value_invalidate_1($1, $2, $3, $4, $5, $6, $7, $8, $9)"

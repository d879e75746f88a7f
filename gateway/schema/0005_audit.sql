-- The audit: an id that ties records to a request, many records under one lock, an index for each search.

ALTER TABLE audit ADD COLUMN correlation text;
-- NULL only in the records from before this file.
ALTER TABLE audit ADD CONSTRAINT audit_correlated
    CHECK (correlation IS NOT NULL AND correlation ~ '^[0-9a-f]{32}$') NOT VALID;

DROP FUNCTION append_audit(text, text, text, text, text, text, text);
DROP FUNCTION audit_hash(bytea, bigint, timestamptz, text, text, text, text, text, text, text);

-- A record without a correlation id is sealed as it always was.
CREATE FUNCTION audit_hash(previous bytea, r audit) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN sha256(previous || convert_to((
        jsonb_build_array(r.audit_id, extract(epoch FROM r.at), r.tenant_id, r.actor, r.action, r.resource,
                          r.verdict, r.origin, r.detail)
        || CASE WHEN r.correlation IS NULL THEN '[]' ELSE jsonb_build_array(r.correlation) END)::text, 'UTF8'));

-- Append the records of a JSON array in its order; the id of the last. Number, time and hash are given here.
CREATE FUNCTION append_audit(records jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last audit;
    r audit;
BEGIN
    PERFORM pg_advisory_xact_lock(4242001);             -- one writer at a time: a chain has no branches
    SELECT * INTO last FROM audit ORDER BY audit_id DESC LIMIT 1;
    FOR r IN SELECT * FROM jsonb_populate_recordset(NULL::audit, records) LOOP
        r.audit_id := coalesce(last.audit_id, 0) + 1;
        r.at := greatest(clock_timestamp(), last.at);   -- a clock that is set back does not disorder the trail
        r.hash := audit_hash(coalesce(last.hash, ''), r);
        INSERT INTO audit SELECT r.*;
        last := r;
    END LOOP;
    RETURN last.audit_id;
END $$;
REVOKE ALL ON FUNCTION append_audit FROM public;
GRANT EXECUTE ON FUNCTION append_audit TO argonath_app, argonath_system;

CREATE INDEX audit_of_time ON audit (at);
CREATE INDEX audit_of_actor ON audit (actor, audit_id DESC);
CREATE INDEX audit_of_action ON audit (action, tenant_id, audit_id DESC);
CREATE INDEX audit_of_correlation ON audit (correlation);
CREATE INDEX audit_refused ON audit (audit_id DESC) WHERE verdict <> 'allowed';

-- The number of the first record at or after a moment, whoever's it is: a search by time becomes one by number.
CREATE FUNCTION audit_id_at(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    RETURN coalesce((SELECT audit_id FROM audit WHERE at >= moment ORDER BY at, audit_id LIMIT 1),
                    (SELECT max(audit_id) + 1 FROM audit), 1);
REVOKE ALL ON FUNCTION audit_id_at FROM public;
GRANT EXECUTE ON FUNCTION audit_id_at TO argonath_app, argonath_system;

-- Every action that there is, by one look into the index for each.
CREATE FUNCTION audit_actions() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE known AS (
        (SELECT action FROM audit ORDER BY action LIMIT 1)
        UNION ALL
        SELECT (SELECT a.action FROM audit a WHERE a.action > known.action ORDER BY a.action LIMIT 1)
        FROM known WHERE known.action IS NOT NULL)
    SELECT action FROM known WHERE action IS NOT NULL
$$;
REVOKE ALL ON FUNCTION audit_actions FROM public;
GRANT EXECUTE ON FUNCTION audit_actions TO argonath_app, argonath_system;

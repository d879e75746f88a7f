-- Audit records get number, time and hash when their transaction commits, so that the lock of the chain is the last that
-- it takes: whoever held it while waiting for a row would stop whoever has the row and has something to record.

-- Records of transactions that have not committed yet. Nobody ever sees a row: so none need outlive a crash.
CREATE UNLOGGED TABLE audit_draft (
    draft_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    records  jsonb NOT NULL
);

DROP FUNCTION append_audit(jsonb);

-- Append the records of a JSON array in its order, when the transaction commits.
CREATE FUNCTION append_audit(records jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        INSERT INTO audit_draft (records) VALUES (append_audit.records);
    END;
REVOKE ALL ON FUNCTION append_audit FROM public;
GRANT EXECUTE ON FUNCTION append_audit TO argonath_app, argonath_system;

CREATE FUNCTION seal_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last audit;
    r audit;
BEGIN
    PERFORM pg_advisory_xact_lock(4242001);             -- one writer at a time: a chain has no branches
    SELECT * INTO last FROM audit ORDER BY audit_id DESC LIMIT 1;
    FOR r IN SELECT * FROM jsonb_populate_recordset(NULL::audit, NEW.records) LOOP
        r.audit_id := coalesce(last.audit_id, 0) + 1;
        r.at := greatest(clock_timestamp(), last.at);   -- a clock that is set back does not disorder the trail
        r.hash := audit_hash(coalesce(last.hash, ''), r);
        INSERT INTO audit SELECT r.*;
        last := r;
    END LOOP;
    DELETE FROM audit_draft WHERE draft_id = NEW.draft_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sealed AFTER INSERT ON audit_draft DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION seal_audit();

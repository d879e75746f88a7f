-- Audit records get number, time and hash when their transaction commits, so that the lock of the chain is the last that
-- it takes: whoever held it while waiting for a row would stop whoever has the row and has something to record.

-- Records of transactions that have not committed yet. Nobody ever sees a row: so none need outlive a crash.
CREATE UNLOGGED TABLE audit_draft (
    draft_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    records  jsonb NOT NULL
);

-- What appended at once is now for the end of a transaction alone.
ALTER FUNCTION append_audit(jsonb) RENAME TO seal_audit;
REVOKE EXECUTE ON FUNCTION seal_audit FROM argonath_app, argonath_system;

-- Append the records of a JSON array in its order, when the transaction commits.
CREATE FUNCTION append_audit(records jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        INSERT INTO audit_draft (records) VALUES (append_audit.records);
    END;
REVOKE ALL ON FUNCTION append_audit FROM public;
GRANT EXECUTE ON FUNCTION append_audit TO argonath_app, argonath_system;

CREATE FUNCTION seal_audit_draft() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM seal_audit(NEW.records);
    DELETE FROM audit_draft WHERE draft_id = NEW.draft_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sealed AFTER INSERT ON audit_draft DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION seal_audit_draft();

-- A tenant's sharing address: who is told it shares studies with that tenant. 122 random bits, so that nobody
-- finds out by trying which tenants there are; it can be renewed, and then the old one is nobody's.

ALTER TABLE tenant ADD COLUMN sharing_address uuid NOT NULL UNIQUE DEFAULT gen_random_uuid();

-- The one way from an address to its tenant, for a session that sees its own tenant alone.
CREATE FUNCTION tenant_at(address uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    RETURN (SELECT tenant_id FROM tenant WHERE sharing_address = address);
REVOKE ALL ON FUNCTION tenant_at FROM public;
GRANT EXECUTE ON FUNCTION tenant_at TO argonath_app;

-- Which study a job needs: it does not leave the archive while one waits or runs (studies.py).
ALTER TABLE job ADD COLUMN study_instance_uid text;
UPDATE job SET study_instance_uid = arguments->>'study_instance_uid' WHERE state IN ('waiting', 'running');
CREATE INDEX job_of_study ON job (study_instance_uid) WHERE state IN ('waiting', 'running');

-- The kernel's tables. Run by the owner role, which the application never logs in as.
-- argonath_app   logs in; sees rows of one tenant, named by the setting argonath.tenant.
-- argonath_system is entered from it by SET LOCAL ROLE (db.system_session) and sees all tenants.

GRANT USAGE ON SCHEMA public TO argonath_app, argonath_system;

CREATE FUNCTION current_tenant() RETURNS text LANGUAGE sql STABLE
    RETURN nullif(current_setting('argonath.tenant', true), '');

-- Every table with a tenant_id passes through here; a test enumerates the catalogue to prove it.
CREATE PROCEDURE isolate_tenants(table_name regclass, privileges text DEFAULT 'SELECT, INSERT, UPDATE, DELETE')
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY own_tenant ON %s TO argonath_app '
                   'USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())',
                   table_name);
    EXECUTE format('CREATE POLICY every_tenant ON %s TO argonath_system USING (true) WITH CHECK (true)',
                   table_name);
    EXECUTE format('GRANT %s ON %s TO argonath_app, argonath_system', privileges, table_name);
END $$;

-- Tenants -----------------------------------------------------------------------------------

CREATE TABLE tenant (
    tenant_id   text PRIMARY KEY CHECK (tenant_id ~ '^[a-z][a-z0-9-]{0,30}$'),
    title       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CALL isolate_tenants('tenant');

-- The AE titles under which the gateway answers for a tenant.
CREATE TABLE called_ae_title (
    ae_title    text PRIMARY KEY CHECK (ae_title ~ '^[ -~]{1,16}$' AND ae_title = btrim(ae_title)),
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE
);
CALL isolate_tenants('called_ae_title');

-- Who may call. A tenant without any row accepts C-STORE from every caller; a query always needs one.
CREATE TABLE calling_ae_title (
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    ae_title    text NOT NULL CHECK (ae_title ~ '^[ -~]{1,16}$' AND ae_title = btrim(ae_title)),
    network     cidr,                                   -- NULL: from any address
    may_query   boolean NOT NULL DEFAULT false,
    host        text,                                   -- where C-MOVE delivers to, if it may
    port        integer CHECK (port BETWEEN 1 AND 65535),
    PRIMARY KEY (tenant_id, ae_title)
);
CALL isolate_tenants('calling_ae_title');

CREATE FUNCTION notify_tenancy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('argonath_tenancy', ''); RETURN NULL; END $$;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON called_ae_title EXECUTE FUNCTION notify_tenancy();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON calling_ae_title EXECUTE FUNCTION notify_tenancy();

-- Identity ----------------------------------------------------------------------------------

CREATE TABLE person (
    person_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email           text NOT NULL UNIQUE CHECK (email = lower(email)),
    password_hash   text NOT NULL,
    system_admin    boolean NOT NULL DEFAULT false,
    disabled_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON person TO argonath_system;

CREATE TABLE membership (
    person_id   bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    role        text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    PRIMARY KEY (tenant_id, person_id)
);
CALL isolate_tenants('membership');

-- API keys and portal sessions alike: a random token, of which only the SHA-256 is kept.
CREATE TABLE credential (
    credential_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('api-key', 'session')),
    token_hash      bytea NOT NULL UNIQUE,
    tenant_id       text REFERENCES tenant ON DELETE CASCADE,
    person_id       bigint REFERENCES person ON DELETE CASCADE,
    role            text NOT NULL CHECK (role IN ('system-admin', 'owner', 'admin', 'member', 'viewer')),
    label           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    last_used_at    timestamptz,
    CHECK (tenant_id IS NOT NULL OR role = 'system-admin'),
    CHECK (kind = 'api-key' OR person_id IS NOT NULL)
);
CREATE INDEX credential_tenant ON credential (tenant_id, created_at);
CALL isolate_tenants('credential');

CREATE FUNCTION notify_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('argonath_credential', ''); RETURN NULL; END $$;
CREATE TRIGGER revoked AFTER UPDATE OF revoked_at, role, tenant_id, expires_at OR DELETE ON credential
    EXECUTE FUNCTION notify_credential();
CREATE TRIGGER changed AFTER UPDATE OR DELETE ON membership EXECUTE FUNCTION notify_credential();
CREATE TRIGGER disabled AFTER UPDATE ON person EXECUTE FUNCTION notify_credential();

-- Studies: who owns a StudyInstanceUID, and how far its arrival is ------------------------------

CREATE TABLE study (
    study_instance_uid  text PRIMARY KEY CHECK (study_instance_uid ~ '^[0-9.]{1,64}$'),
    tenant_id           text NOT NULL REFERENCES tenant,
    -- claimed: nothing stored yet, expires; receiving: instances arrive; stable: told to the listeners
    state               text NOT NULL DEFAULT 'claimed' CHECK (state IN ('claimed', 'receiving', 'stable')),
    arrival             integer NOT NULL DEFAULT 1,     -- grows each time a stable study gets more
    orthanc_id          text NOT NULL,
    patient_id          text NOT NULL DEFAULT '',
    patient_name        text NOT NULL DEFAULT '',
    study_date          text NOT NULL DEFAULT '',
    study_description   text NOT NULL DEFAULT '',
    accession_number    text NOT NULL DEFAULT '',
    modalities          text[] NOT NULL DEFAULT '{}',
    series_count        integer NOT NULL DEFAULT 0,
    instance_count      integer NOT NULL DEFAULT 0,
    source              text NOT NULL DEFAULT '',       -- e.g. "C-STORE CT1 10.0.0.7" or "STOW-RS key 3"
    first_received_at   timestamptz NOT NULL DEFAULT now(),
    last_received_at    timestamptz NOT NULL DEFAULT now(),
    stable_at           timestamptz
);
CREATE INDEX study_received ON study (tenant_id, first_received_at DESC);
CREATE INDEX study_patient ON study (tenant_id, patient_id);
CREATE INDEX study_unfinished ON study (last_received_at) WHERE state <> 'stable';
CALL isolate_tenants('study');

CREATE FUNCTION notify_study() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('argonath_study', OLD.study_instance_uid); RETURN NULL; END $$;
CREATE TRIGGER removed AFTER DELETE ON study FOR EACH ROW EXECUTE FUNCTION notify_study();

-- Events and jobs: PostgreSQL is the truth, Redis only the executor ------------------------------

CREATE TABLE outbox (
    event_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind            text NOT NULL,
    payload         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    dispatched_at   timestamptz
);
CREATE INDEX outbox_waiting ON outbox (event_id) WHERE dispatched_at IS NULL;
CALL isolate_tenants('outbox', 'SELECT, INSERT, UPDATE');

CREATE TABLE job (
    job_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    queue           text NOT NULL DEFAULT 'default',
    extension       text NOT NULL,
    task            text NOT NULL,                      -- a function of the extension's worker.py
    arguments       jsonb NOT NULL DEFAULT '{}',
    unique_key      text UNIQUE,                        -- enqueueing the same thing twice is one job
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    max_attempts    integer NOT NULL DEFAULT 10,
    time_limit_s    integer NOT NULL DEFAULT 600,
    run_at          timestamptz NOT NULL DEFAULT now(),
    queued_until    timestamptz,                        -- handed to Redis; handed again if that is past
    lease_until     timestamptz,                        -- a running job whose worker was lost runs again
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);
CREATE INDEX job_unfinished ON job (run_at) WHERE state IN ('waiting', 'running');
CREATE INDEX job_of_tenant ON job (tenant_id, created_at DESC);
CALL isolate_tenants('job');

-- Audit: append-only for everybody but the owner, each record sealed with its predecessor's hash ----

CREATE TABLE audit (
    audit_id    bigint PRIMARY KEY,
    at          timestamptz NOT NULL,
    tenant_id   text,                                   -- no foreign key: outlives its tenant
    actor       text NOT NULL,
    action      text NOT NULL,
    resource    text NOT NULL,
    verdict     text NOT NULL CHECK (verdict IN ('allowed', 'denied', 'failed')),
    origin      text NOT NULL DEFAULT '',               -- address the request came from
    detail      text NOT NULL DEFAULT '',
    hash        bytea NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant_id, audit_id DESC);
CREATE INDEX audit_of_resource ON audit (resource, audit_id DESC);
CALL isolate_tenants('audit', 'SELECT');

CREATE FUNCTION audit_hash(previous bytea, id bigint, at timestamptz, tenant text, actor text, action text,
                           resource text, verdict text, origin text, detail text)
RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN sha256(previous || convert_to(jsonb_build_array(
        id, extract(epoch FROM at), tenant, actor, action, resource, verdict, origin, detail)::text, 'UTF8'));

CREATE FUNCTION append_audit(tenant text, actor text, action text, resource text, verdict text,
                             origin text, detail text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last_id bigint := 0;
    last_hash bytea := '';
    now_at timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(4242001);             -- one writer at a time: a chain has no branches
    SELECT a.audit_id, a.hash INTO last_id, last_hash FROM audit a ORDER BY a.audit_id DESC LIMIT 1;
    last_id := coalesce(last_id, 0) + 1;
    now_at := clock_timestamp();
    INSERT INTO audit VALUES (last_id, now_at, tenant, actor, action, resource, verdict, origin, detail,
        audit_hash(coalesce(last_hash, ''), last_id, now_at, tenant, actor, action, resource, verdict,
                   origin, detail));
    RETURN last_id;
END $$;
REVOKE ALL ON FUNCTION append_audit FROM public;
GRANT EXECUTE ON FUNCTION append_audit TO argonath_app, argonath_system;

-- What an installation or a tenant has switched off.
CREATE TABLE extension_setting (
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    extension   text NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant_id, extension)
);
CALL isolate_tenants('extension_setting');

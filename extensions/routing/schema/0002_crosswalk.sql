-- Tables by which the action crosswalk replaces values. Keys name patients: they stay in the tenant.

CREATE TABLE crosswalk (
    crosswalk_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    kind            text NOT NULL CHECK (kind IN ('table', 'csv', 'lookup')),
    settings        jsonb NOT NULL DEFAULT '{}',        -- validated by crosswalk_sources.py
    version         integer NOT NULL DEFAULT 0,         -- grows with each import that changes a row
    sync_run        integer NOT NULL DEFAULT 0,         -- the job that may synchronize next
    synced_at       timestamptz,
    last_error      text,                               -- why it could not be synchronized
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, crosswalk_id)
);
CALL isolate_tenants('crosswalk');

-- A row holds from version `since` until before version `until`, so each version can be told again.
CREATE TABLE crosswalk_row (
    crosswalk_id    bigint NOT NULL,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    key             text NOT NULL,
    columns         jsonb NOT NULL,                     -- {"column": "value"}
    since           integer NOT NULL,
    until           integer,                            -- NULL: it holds now
    fetched_at      timestamptz NOT NULL DEFAULT now(), -- of a look-up: when it was asked for
    PRIMARY KEY (crosswalk_id, key, since),
    FOREIGN KEY (tenant_id, crosswalk_id) REFERENCES crosswalk (tenant_id, crosswalk_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX crosswalk_row_now ON crosswalk_row (crosswalk_id, key) WHERE until IS NULL;
CALL isolate_tenants('crosswalk_row');

-- Polling: where studies are fetched from, and what was seen there.
-- A tenant is part of every foreign key: such a check is not subject to row-level security.

CREATE TABLE polling_source (
    source_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    kind            text NOT NULL CHECK (kind IN ('dicomweb', 'dimse', 'folder')),
    settings        jsonb NOT NULL,                     -- validated by source_settings.py
    enabled         boolean NOT NULL DEFAULT true,      -- false: paused
    next_run_at     timestamptz NOT NULL DEFAULT now(),
    hurried         boolean NOT NULL DEFAULT false,     -- somebody asked for a run now, be the window closed
    holder          text,                               -- which process runs it, until then
    lease_until     timestamptz,
    last_run_at     timestamptz,
    last_told       text NOT NULL DEFAULT '',           -- what the last run found, in words and counts
    failures        integer NOT NULL DEFAULT 0,         -- runs in a row that failed, for last_error
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, source_id)
);
CREATE INDEX polling_source_due ON polling_source (next_run_at) WHERE enabled;
CREATE UNIQUE INDEX polling_source_folder ON polling_source (tenant_id) WHERE kind = 'folder';
CALL isolate_tenants('polling_source');

-- What was seen at a source, and how many instances of it were here then.
CREATE TABLE polling_study (
    source_id           bigint NOT NULL,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    instances           integer NOT NULL,               -- at the source, when it was last looked at
    failures            integer NOT NULL DEFAULT 0,     -- 0: all that the source has of it was retrieved
    next_try_at         timestamptz,                    -- of a failed one; NULL: not before it changes there
    last_error          text,
    retrieved_at        timestamptz,                    -- when something of it was last brought
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, study_instance_uid),
    FOREIGN KEY (tenant_id, source_id) REFERENCES polling_source (tenant_id, source_id) ON DELETE CASCADE
);
CREATE INDEX polling_study_failed ON polling_study (tenant_id, source_id) WHERE failures > 0;
CALL isolate_tenants('polling_study');

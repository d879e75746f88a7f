-- Routing: where studies go, by which rules, and what arrived there.
-- A tenant is part of every foreign key: such a check is not subject to row-level security, so a
-- plain one would let a tenant refer to another's destination.

CREATE TABLE destination (
    destination_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    kind            text NOT NULL CHECK (kind IN ('dimse', 'dicomweb')),
    settings        jsonb NOT NULL,                     -- validated by destinations.py
    enabled         boolean NOT NULL DEFAULT true,      -- false: deliveries wait
    failures        integer NOT NULL DEFAULT 0,         -- times in a row that it could not be reached
    retry_at        timestamptz,                        -- until then nobody tries it again
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, destination_id)
);
CALL isolate_tenants('destination');

CREATE TABLE routing_rule (
    rule_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    enabled         boolean NOT NULL DEFAULT true,
    conditions      jsonb NOT NULL DEFAULT '[]',        -- [{"tag", "operator", "value"}], validated by rules.py
    destination_id  bigint NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, destination_id) REFERENCES destination (tenant_id, destination_id)
);
CALL isolate_tenants('routing_rule');

-- One study to one destination; later arrivals of the study add instances to it. Outlives its destination.
CREATE TABLE delivery (
    delivery_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    destination_id      bigint,
    destination_name    text NOT NULL,
    rule_name           text NOT NULL,
    reason              jsonb NOT NULL DEFAULT '[]',    -- each condition, what it saw, whether it was met
    attempts            integer NOT NULL DEFAULT 0,     -- runs of the sender
    last_error          text,                           -- why the destination could not be reached
    next_try_at         timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, destination_id, study_instance_uid),
    UNIQUE (tenant_id, delivery_id),
    FOREIGN KEY (tenant_id, destination_id) REFERENCES destination (tenant_id, destination_id)
        ON DELETE SET NULL (destination_id)
);
CREATE INDEX delivery_recent ON delivery (tenant_id, created_at DESC);
CREATE INDEX delivery_of_study ON delivery (tenant_id, study_instance_uid);
CALL isolate_tenants('delivery');

CREATE TABLE delivery_instance (
    delivery_id         bigint NOT NULL,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    sop_instance_uid    text NOT NULL,
    series_instance_uid text NOT NULL,
    sop_class_uid       text NOT NULL,
    state               text NOT NULL DEFAULT 'planned'
                        CHECK (state IN ('planned', 'sending', 'delivered', 'failed')),
    remote_status       text NOT NULL DEFAULT '',       -- e.g. 0x0000, 0xA900, HTTP 409
    cause               text NOT NULL DEFAULT '',       -- in words, for the failed and the retried
    attempts            integer NOT NULL DEFAULT 0,
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (delivery_id, sop_instance_uid),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery (tenant_id, delivery_id) ON DELETE CASCADE
);
CREATE INDEX delivery_instance_open ON delivery_instance (tenant_id, state) WHERE state <> 'delivered';
CALL isolate_tenants('delivery_instance');

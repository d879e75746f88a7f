-- Telling others: webhooks, who was told of what, and the alert when deliveries are stuck.

CREATE TABLE webhook (
    webhook_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    url             text NOT NULL,
    secret          text NOT NULL,                      -- sealed (gateway/vault.py)
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
CALL isolate_tenants('webhook');

-- Written after somebody was told, so that no round and no second run tells it again.
CREATE TABLE notification (
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    series_instance_uid text NOT NULL,                  -- of a rule that looks at each series
    rule_name           text NOT NULL,
    recipient           text NOT NULL,                  -- mailto:ADDRESS or webhook:NAME
    round               integer NOT NULL,               -- of the run, see rule_run
    told_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid, rule_name, recipient)
);
CALL isolate_tenants('notification');

-- Whether a tenant's admins are told when something is stuck.
CREATE TABLE stuck_alert (
    tenant_id       text PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    after_minutes   integer NOT NULL CHECK (after_minutes BETWEEN 0 AND 10080), -- 0: off
    run             integer NOT NULL DEFAULT 1,         -- the job that may look
    looked_at       timestamptz NOT NULL DEFAULT now(), -- what failed before is old
    told            text[] NOT NULL DEFAULT '{}'        -- what they know of, until it is over
);
CALL isolate_tenants('stuck_alert');

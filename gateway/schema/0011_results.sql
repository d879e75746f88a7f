-- What extensions have found out about studies, by name; routing's rules look at it.

CREATE TABLE study_result (
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL REFERENCES study ON DELETE CASCADE,
    name                text NOT NULL CHECK (name ~ '^[a-z0-9_.-]{1,64}$'),
    value               jsonb NOT NULL,                 -- a text, number, boolean, or a list of them
    extension           text NOT NULL,                  -- who found it
    noted_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (study_instance_uid, name)
);
CALL isolate_tenants('study_result');

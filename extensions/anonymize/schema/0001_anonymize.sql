-- Research projects, and the way back from their pseudonyms. The application only adds: neither the options of a
-- project nor what a pseudonym stands for can change once copies have left.

CREATE TABLE research_project (
    project_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name            text NOT NULL CHECK (name ~ '^[A-Z][A-Z0-9]{1,15}$'),   -- begins its pseudonyms
    options         jsonb NOT NULL,                                         -- validated by options.py
    secret          text NOT NULL CHECK (secret LIKE 'sealed:%'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, project_id)
);
CALL isolate_tenants('research_project', 'SELECT, INSERT');

CREATE TABLE research_identity (
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    project_id      bigint NOT NULL,
    pseudonym       text NOT NULL,                      -- of a patient, or a StudyInstanceUID that left
    sealed          text NOT NULL CHECK (sealed LIKE 'sealed:%'),           -- who that is: identities.py
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, pseudonym),
    FOREIGN KEY (tenant_id, project_id) REFERENCES research_project (tenant_id, project_id) ON DELETE CASCADE
);
CALL isolate_tenants('research_identity', 'SELECT, INSERT');

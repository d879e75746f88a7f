-- Rules in order, every version of them; what they saw; and how far each is with each study.

-- The highest version is live. Versions are never rewritten: rolling back makes a new one.
CREATE TABLE rulebook (
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    version     integer NOT NULL CHECK (version > 0),
    rules       jsonb NOT NULL,                     -- in their order; validated by rules.py
    author      text NOT NULL,
    note        text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, version)
);
CALL isolate_tenants('rulebook', 'SELECT, INSERT');

INSERT INTO rulebook (tenant_id, version, rules, author, note)
SELECT r.tenant_id, 1, jsonb_agg(
           jsonb_build_object(
               'name', r.name, 'enabled', r.enabled,
               'actions', jsonb_build_array(
                   jsonb_build_object('forward', jsonb_build_object('to', d.name))))
           || CASE WHEN r.conditions = '[]' THEN '{}' ELSE jsonb_build_object(
               'when', jsonb_build_object('all', (
                   SELECT jsonb_agg(jsonb_build_object(
                       'field', c -> 'tag', 'operator', c -> 'operator',
                       'value', CASE c ->> 'operator' WHEN 'one of' THEN (
                           SELECT jsonb_agg(btrim(part))
                           FROM unnest(string_to_array(c ->> 'value', ',')) AS part)
                           ELSE c -> 'value' END))
                   FROM jsonb_array_elements(r.conditions) AS c))) END
           ORDER BY r.name),
       'argonath', 'Taken over from the rules that had no versions.'
FROM routing_rule r JOIN destination d USING (destination_id)
GROUP BY r.tenant_id;
DROP TABLE routing_rule;

-- What conditions read of a series. Goes with its study (worker.py).
CREATE TABLE series_facts (
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    series_instance_uid text NOT NULL,
    facts               jsonb NOT NULL,             -- see facts.py
    instances           integer NOT NULL,
    grown_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid)
);
CREATE INDEX series_facts_recent ON series_facts (tenant_id, grown_at DESC);
CALL isolate_tenants('series_facts');

-- A rule that has caught a study: which of its actions are done. More arrivals begin it again.
CREATE TABLE rule_run (
    run_id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    series_instance_uid text NOT NULL DEFAULT '',   -- of a rule that looks at each series
    rule_name           text NOT NULL,
    rulebook_version    integer NOT NULL,
    reason              jsonb NOT NULL,             -- each condition, what it saw, whether it was met
    steps               jsonb NOT NULL,             -- the actions, as they were then
    next_step           integer NOT NULL DEFAULT 0,
    priority            text NOT NULL CHECK (priority IN ('urgent', 'normal', 'off-peak')),
    state               text NOT NULL DEFAULT 'running'
                        CHECK (state IN ('running', 'held', 'done', 'failed', 'discarded')),
    cause               text NOT NULL DEFAULT '',
    instances           integer NOT NULL,           -- how many it had caught when it last began
    round               integer NOT NULL DEFAULT 1, -- how often it has begun
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, study_instance_uid, series_instance_uid, rule_name)
);
CREATE INDEX rule_run_attention ON rule_run (tenant_id, updated_at) WHERE state IN ('held', 'failed');
CALL isolate_tenants('rule_run');

-- Routing's words for a study, for conditions and for people.
CREATE TABLE study_label (
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL,
    label               text NOT NULL,
    PRIMARY KEY (tenant_id, study_instance_uid, label)
);
CALL isolate_tenants('study_label');

-- A draft of the rules, tried on the last studies (tryouts.py).
CREATE TABLE tryout (
    tryout_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    rules           jsonb NOT NULL,
    most_studies    integer NOT NULL,
    days            integer,
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done')),
    looked_at       integer NOT NULL DEFAULT 0,         -- studies
    report          jsonb NOT NULL DEFAULT '{}',
    author          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CALL isolate_tenants('tryout');

-- Copies that differ go to the same destination each as a delivery of its own.
ALTER TABLE delivery
    ADD transforms jsonb NOT NULL DEFAULT '[]',     -- what is done to each copy; see gateway/actions.py
    ADD pipeline text NOT NULL DEFAULT '',          -- a digest of transforms
    ADD priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('urgent', 'normal', 'off-peak')),
    ADD held text NOT NULL DEFAULT '',              -- why it waits for a person
    DROP CONSTRAINT delivery_tenant_id_destination_id_study_instance_uid_key,
    ADD UNIQUE (tenant_id, destination_id, study_instance_uid, pipeline);

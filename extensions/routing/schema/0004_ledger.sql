-- The ledger at a hundred thousand deliveries: counted as it is written, and one line for each destination.

ALTER TABLE destination
    DROP CONSTRAINT destination_kind_check,
    ADD CHECK (kind IN ('dimse', 'dicomweb', 'folder', 's3')),
    ADD limits jsonb NOT NULL DEFAULT '{}',         -- validated by limits.py
    ADD outage_since timestamptz;                   -- the audit was told that it cannot be reached

ALTER TABLE delivery_instance
    DROP CONSTRAINT delivery_instance_state_check,
    ADD CHECK (state IN ('planned', 'sending', 'delivered', 'verified', 'failed')),
    ADD number integer,                             -- InstanceNumber: the order within a series
    ADD sent_as text NOT NULL DEFAULT '',           -- the copy's SOP Instance UID, if it has another
    ADD sent_series text NOT NULL DEFAULT '',
    ADD sent_study text NOT NULL DEFAULT '',
    ADD verified_at timestamptz;
DROP INDEX delivery_instance_open;
CREATE INDEX delivery_instance_open ON delivery_instance (tenant_id, state)
    WHERE state NOT IN ('delivered', 'verified');

ALTER TABLE delivery
    ADD planned integer NOT NULL DEFAULT 0,         -- these five by the triggers below
    ADD sending integer NOT NULL DEFAULT 0,
    ADD delivered integer NOT NULL DEFAULT 0,       -- the verified included
    ADD verified integer NOT NULL DEFAULT 0,
    ADD failed integer NOT NULL DEFAULT 0,
    ADD checks integer NOT NULL DEFAULT 0,          -- how often the destination was asked what it has
    ADD running boolean NOT NULL DEFAULT false,     -- a run of the sender has it
    ADD job_id bigint,                              -- which sends it; waits for years until it is called
    ADD called_at timestamptz,                      -- it is its turn
    ADD due_at timestamptz NOT NULL DEFAULT now();  -- its place in the line; not before

UPDATE delivery d SET planned = c.planned, sending = c.sending, delivered = c.delivered, failed = c.failed,
    due_at = d.created_at
FROM (SELECT delivery_id, count(*) FILTER (WHERE state = 'planned') AS planned,
             count(*) FILTER (WHERE state = 'sending') AS sending,
             count(*) FILTER (WHERE state = 'delivered') AS delivered,
             count(*) FILTER (WHERE state = 'failed') AS failed
      FROM delivery_instance GROUP BY delivery_id) AS c
WHERE c.delivery_id = d.delivery_id;
UPDATE delivery d SET job_id = j.job_id
FROM (SELECT max(job_id) AS job_id, (arguments ->> 'delivery_id')::bigint AS delivery_id FROM job
      WHERE extension = 'routing' AND task = 'deliver' AND state IN ('waiting', 'running') GROUP BY 2) AS j
WHERE j.delivery_id = d.delivery_id;
UPDATE job SET queue = 'deliver' WHERE extension = 'routing' AND task = 'deliver' AND state = 'waiting';

-- No index may name what changes with each instance, nor its predicate: such updates stay cheap (HOT).
ALTER TABLE delivery ADD state text GENERATED ALWAYS AS (
    CASE WHEN held <> '' AND planned > 0 THEN 'held'
         WHEN planned + sending > 0 THEN CASE WHEN running THEN 'sending' ELSE 'waiting' END
         WHEN failed > 0 THEN 'failed' WHEN verified > 0 AND verified = delivered THEN 'verified'
         ELSE 'delivered' END) STORED;

CREATE INDEX delivery_by_state ON delivery (tenant_id, state, created_at DESC, delivery_id DESC);
CREATE INDEX delivery_called ON delivery (destination_id) WHERE called_at IS NOT NULL;
CREATE INDEX delivery_line ON delivery (destination_id, priority, due_at, delivery_id)
    WHERE called_at IS NULL AND state IN ('waiting', 'sending');
CREATE INDEX delivery_failed ON delivery (tenant_id, created_at DESC) WHERE failed > 0;

CREATE FUNCTION count_delivery_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN -- what is new is planned
        UPDATE delivery d SET planned = d.planned + c.planned, updated_at = now()
        FROM (SELECT delivery_id, count(*) AS planned FROM new_rows GROUP BY delivery_id) AS c
        WHERE d.delivery_id = c.delivery_id;
    ELSE
        UPDATE delivery d SET planned = d.planned + c.planned, sending = d.sending + c.sending,
            delivered = d.delivered + c.delivered, verified = d.verified + c.verified,
            failed = d.failed + c.failed, updated_at = now()
        FROM (SELECT delivery_id,
                     coalesce(sum(n) FILTER (WHERE state = 'planned'), 0) AS planned,
                     coalesce(sum(n) FILTER (WHERE state = 'sending'), 0) AS sending,
                     coalesce(sum(n) FILTER (WHERE state IN ('delivered', 'verified')), 0) AS delivered,
                     coalesce(sum(n) FILTER (WHERE state = 'verified'), 0) AS verified,
                     coalesce(sum(n) FILTER (WHERE state = 'failed'), 0) AS failed
              FROM (SELECT delivery_id, state, 1 AS n FROM new_rows
                    UNION ALL SELECT delivery_id, state, -1 FROM old_rows) AS both_rows
              GROUP BY delivery_id) AS c
        WHERE d.delivery_id = c.delivery_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_new AFTER INSERT ON delivery_instance
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_delivery_instances();
CREATE TRIGGER counted AFTER UPDATE ON delivery_instance
    REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_delivery_instances();

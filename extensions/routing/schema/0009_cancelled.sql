-- What a person cancelled is no failure: instances and deliveries of which that was said have a state of their own.

ALTER TABLE delivery_instance
    DROP CONSTRAINT delivery_instance_state_check,
    ADD CHECK (state IN ('planned', 'sending', 'delivered', 'verified', 'failed', 'cancelled'));
ALTER TABLE delivery ADD cancelled integer NOT NULL DEFAULT 0;  -- by the triggers, like the other five
ALTER TABLE delivery ALTER state SET EXPRESSION AS (
    CASE WHEN held <> '' AND planned > 0 THEN 'held'
         WHEN planned + sending > 0 THEN CASE WHEN running THEN 'sending' ELSE 'waiting' END
         WHEN failed > 0 THEN 'failed' WHEN cancelled > 0 THEN 'cancelled'
         WHEN verified > 0 AND verified = delivered THEN 'verified'
         ELSE 'delivered' END);

CREATE OR REPLACE FUNCTION count_delivery_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN -- what is new is planned
        UPDATE delivery d SET planned = d.planned + c.planned, updated_at = now()
        FROM (SELECT delivery_id, count(*) AS planned FROM new_rows GROUP BY delivery_id) AS c
        WHERE d.delivery_id = c.delivery_id;
    ELSE
        UPDATE delivery d SET planned = d.planned + c.planned, sending = d.sending + c.sending,
            delivered = d.delivered + c.delivered, verified = d.verified + c.verified,
            failed = d.failed + c.failed, cancelled = d.cancelled + c.cancelled, updated_at = now()
        FROM (SELECT delivery_id,
                     coalesce(sum(n) FILTER (WHERE state = 'planned'), 0) AS planned,
                     coalesce(sum(n) FILTER (WHERE state = 'sending'), 0) AS sending,
                     coalesce(sum(n) FILTER (WHERE state IN ('delivered', 'verified')), 0) AS delivered,
                     coalesce(sum(n) FILTER (WHERE state = 'verified'), 0) AS verified,
                     coalesce(sum(n) FILTER (WHERE state = 'failed'), 0) AS failed,
                     coalesce(sum(n) FILTER (WHERE state = 'cancelled'), 0) AS cancelled
              FROM (SELECT delivery_id, state, 1 AS n FROM new_rows
                    UNION ALL SELECT delivery_id, state, -1 FROM old_rows) AS both_rows
              GROUP BY delivery_id) AS c
        WHERE d.delivery_id = c.delivery_id;
    END IF;
    RETURN NULL;
END $$;

UPDATE delivery_instance SET state = 'cancelled' WHERE state = 'failed' AND starts_with(cause, 'Cancelled by ');

-- What is done with goes after a while (retention.py). The policies are restrictive: whatever a statement
-- says, what is unfinished stays. The audit and extensions' own tables are not swept.

REVOKE DELETE ON job, credential FROM argonath_app;
GRANT DELETE ON outbox TO argonath_system;

CREATE POLICY finished_only ON job AS RESTRICTIVE FOR DELETE TO argonath_system
    USING (state IN ('done', 'failed'));
CREATE POLICY dispatched_only ON outbox AS RESTRICTIVE FOR DELETE TO argonath_system
    USING (dispatched_at IS NOT NULL);
CREATE POLICY expired_sessions_only ON credential AS RESTRICTIVE FOR DELETE TO argonath_system
    USING (kind = 'session' AND expires_at < now());

CREATE INDEX job_finished ON job (finished_at) WHERE state IN ('done', 'failed');
CREATE INDEX outbox_dispatched ON outbox (dispatched_at) WHERE dispatched_at IS NOT NULL;
CREATE INDEX credential_session ON credential (expires_at) WHERE kind = 'session';
CREATE INDEX credential_of_person ON credential (person_id) WHERE kind = 'session';

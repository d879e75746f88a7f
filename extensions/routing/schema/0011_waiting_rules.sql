-- A rule whose next action is tried in vain for long needs somebody as well.

DROP INDEX rule_run_attention;
CREATE INDEX rule_run_attention ON rule_run (tenant_id, updated_at) WHERE state IN ('held', 'failed', 'running');

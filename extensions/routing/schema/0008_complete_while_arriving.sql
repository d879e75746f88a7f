-- A rule for complete studies is looked at while they arrive: its tenant is told of arrivals from now on.

INSERT INTO arrival_watch (tenant_id, extension)
SELECT tenant_id, 'routing'
FROM (SELECT DISTINCT ON (tenant_id) tenant_id, rules FROM rulebook ORDER BY tenant_id, version DESC) AS live
WHERE EXISTS (SELECT FROM jsonb_array_elements(rules) AS rule
              WHERE rule ->> 'trigger' = 'study complete' AND coalesce((rule ->> 'enabled')::boolean, true))
ON CONFLICT DO NOTHING;

-- The alert by a webhook. What was told is named by its cause now: what is stuck at this moment is told once more.

ALTER TABLE stuck_alert ADD webhook text NOT NULL DEFAULT '';   -- its name; empty: none
UPDATE stuck_alert SET told = '{}';

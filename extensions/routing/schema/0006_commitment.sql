-- Storage commitment: what destinations were asked to commit to, and are still to report on.

CREATE TABLE commitment_request (
    transaction_uid text PRIMARY KEY,                   -- a report counts only while its row is here, unanswered
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    delivery_id     bigint NOT NULL,
    instances       jsonb NOT NULL,                     -- SOP Instance UID of the copy: the one that it has here
    causes          jsonb,                              -- once answered: why not, by the UIDs here; {}: all committed
    asked_at        timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery (tenant_id, delivery_id) ON DELETE CASCADE
);
CREATE INDEX commitment_request_of_delivery ON commitment_request (tenant_id, delivery_id);
CALL isolate_tenants('commitment_request');

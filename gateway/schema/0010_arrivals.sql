-- Which tenants are told of studies while these arrive, and not only when they are stable.

CREATE TABLE arrival_watch (
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    extension   text NOT NULL,
    PRIMARY KEY (tenant_id, extension)
);
CALL isolate_tenants('arrival_watch');

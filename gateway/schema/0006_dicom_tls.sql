-- DICOM over TLS: which certificate may use which calling AE title, and who is reached by TLS alone.

-- identity: "sha256:" and the fingerprint of one certificate in hexadecimal, or "subject:" and a distinguished
-- name (RFC 4514), which any certificate of the configured authorities with that name has. Several for one AE
-- title let a certificate be replaced without a gap.
CREATE TABLE calling_certificate (
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    ae_title    text NOT NULL CHECK (ae_title ~ '^[ -~]{1,16}$' AND ae_title = btrim(ae_title)),
    identity    text NOT NULL CHECK (identity ~ '^(sha256:[0-9a-f]{64}|subject:.+)$'),
    PRIMARY KEY (tenant_id, ae_title, identity)
);
CALL isolate_tenants('calling_certificate');

ALTER TABLE tenant ADD COLUMN dicom_tls_only boolean NOT NULL DEFAULT false;

CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON calling_certificate EXECUTE FUNCTION notify_tenancy();
CREATE TRIGGER changed AFTER UPDATE OF dicom_tls_only ON tenant EXECUTE FUNCTION notify_tenancy();

-- A study that whoever has a link may read: no account, always exactly that study.

CREATE TABLE share_link (
    link_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,  -- the owner
    study_instance_uid  text NOT NULL REFERENCES study ON DELETE CASCADE,
    token_hash          bytea NOT NULL UNIQUE,
    code_hash           text,                           -- argon2id; NULL: the link needs no code
    code_used_at        timestamptz,                    -- a code opens once
    wrong_codes         integer NOT NULL DEFAULT 0,     -- too many close the link for ever
    expires_at          timestamptz NOT NULL,
    revoked_at          timestamptz,
    views               integer NOT NULL DEFAULT 0,
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX share_link_of_study ON share_link (study_instance_uid);
CALL isolate_tenants('share_link', 'SELECT, INSERT, UPDATE');
CREATE POLICY own_study ON share_link AS RESTRICTIVE FOR INSERT TO argonath_app
    WITH CHECK (EXISTS (SELECT FROM study s WHERE s.study_instance_uid = share_link.study_instance_uid
                        AND s.tenant_id = current_tenant()));

-- A browser that was let in by a link, for some hours.
CREATE TABLE share_visit (
    token_hash  bytea PRIMARY KEY,
    tenant_id   text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    link_id     bigint NOT NULL REFERENCES share_link ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX share_visit_of_link ON share_visit (link_id);
CALL isolate_tenants('share_visit', 'SELECT, INSERT, DELETE');

CREATE TRIGGER changed AFTER DELETE OR UPDATE OF expires_at, revoked_at, wrong_codes ON share_link
    EXECUTE FUNCTION notify_share();

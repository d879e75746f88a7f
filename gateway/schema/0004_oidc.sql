-- People of an OpenID provider, and invitations.

-- Who signs in at a provider is known by its issuer and subject, which never change, and needs no password.
ALTER TABLE person ALTER COLUMN password_hash DROP NOT NULL;
ALTER TABLE person ADD COLUMN oidc_issuer text, ADD COLUMN oidc_subject text,
    ADD UNIQUE (oidc_issuer, oidc_subject),
    ADD CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL));

-- What the provider says replaces only what the provider said before.
ALTER TABLE membership ADD COLUMN source text NOT NULL DEFAULT 'local' CHECK (source IN ('local', 'oidc'));

-- The ID token, sealed, with which a sign-out here ends the session at the provider too.
ALTER TABLE credential ADD COLUMN oidc_id_token text;

CREATE TABLE invitation (
    invitation_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    email           text NOT NULL CHECK (email = lower(email)),
    role            text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash      bytea NOT NULL UNIQUE,
    invited_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    closed_at       timestamptz                         -- accepted or withdrawn
);
CREATE UNIQUE INDEX invitation_open ON invitation (tenant_id, email) WHERE closed_at IS NULL;
CALL isolate_tenants('invitation', 'SELECT, INSERT, UPDATE');

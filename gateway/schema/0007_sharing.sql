-- A study that its owner lets another tenant read. The row decides: it ends by itself, or at once by revoked_at.

CREATE TABLE study_share (
    share_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,  -- the owner
    study_instance_uid  text NOT NULL REFERENCES study ON DELETE CASCADE,
    with_tenant_id      text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    expires_at          timestamptz NOT NULL,
    revoked_at          timestamptz,
    views               integer NOT NULL DEFAULT 0,
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (with_tenant_id <> tenant_id)
);
CREATE UNIQUE INDEX study_share_open ON study_share (study_instance_uid, with_tenant_id) WHERE revoked_at IS NULL;
CREATE INDEX study_share_of_study ON study_share (study_instance_uid);
CREATE INDEX study_share_received ON study_share (with_tenant_id);
CALL isolate_tenants('study_share', 'SELECT, INSERT, UPDATE');

-- Who receives a share sees it, and cannot change it.
CREATE POLICY shared_with_us ON study_share FOR SELECT TO argonath_app USING (with_tenant_id = current_tenant());
-- Nobody shares what is another's: a foreign key alone does not ask whose the study is.
CREATE POLICY own_study ON study_share AS RESTRICTIVE FOR INSERT TO argonath_app
    WITH CHECK (EXISTS (SELECT FROM study s WHERE s.study_instance_uid = study_share.study_instance_uid
                        AND s.tenant_id = current_tenant()));

CREATE FUNCTION notify_share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('argonath_share', ''); RETURN NULL; END $$;
CREATE TRIGGER changed AFTER INSERT OR DELETE OR UPDATE OF expires_at, revoked_at ON study_share
    EXECUTE FUNCTION notify_share();

-- What the present tenant is shown of studies that are shared with it now; not where they came from.
CREATE FUNCTION studies_shared_with_us()
RETURNS TABLE (share_id bigint, tenant_id text, study_instance_uid text, with_tenant_id text,
               expires_at timestamptz, patient_id text, patient_name text, study_date text,
               study_description text, accession_number text, modalities text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.share_id, h.tenant_id, h.study_instance_uid, h.with_tenant_id, h.expires_at, s.patient_id,
           s.patient_name, s.study_date, s.study_description, s.accession_number, s.modalities
    FROM study_share h
    JOIN study s ON s.study_instance_uid = h.study_instance_uid AND s.tenant_id = h.tenant_id
    WHERE h.with_tenant_id = current_tenant() AND h.revoked_at IS NULL AND h.expires_at > now() $$;
REVOKE ALL ON FUNCTION studies_shared_with_us FROM public;
GRANT EXECUTE ON FUNCTION studies_shared_with_us TO argonath_app;

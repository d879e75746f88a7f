-- Who sent a study: its first instance, and the first of each series that somebody else began.
-- Empty AE titles: not by C-STORE. All empty: nobody, the output of a job.

ALTER TABLE study ADD calling_aet    text NOT NULL DEFAULT '',
                  ADD called_aet     text NOT NULL DEFAULT '',
                  ADD sender_address text NOT NULL DEFAULT '';

UPDATE study SET
    calling_aet = coalesce(substring(regexp_replace(source, ' by TLS$', '') FROM '^C-STORE (.*) \S+$'), ''),
    sender_address = coalesce(
        substring(regexp_replace(source, ' by TLS$', '') FROM '^(?:C-STORE|STOW-RS) .* (\S+)$'), '');

CREATE TABLE series_sender (
    tenant_id           text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    study_instance_uid  text NOT NULL REFERENCES study ON DELETE CASCADE,
    series_instance_uid text NOT NULL,
    calling_aet         text NOT NULL,
    called_aet          text NOT NULL,
    sender_address      text NOT NULL,
    PRIMARY KEY (study_instance_uid, series_instance_uid)
);
CALL isolate_tenants('series_sender');

-- A tenant sees who its members are: never a password's hash, and nobody else's people.
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_person ON person TO argonath_system USING (true) WITH CHECK (true);
CREATE POLICY own_members ON person FOR SELECT TO argonath_app
    USING (EXISTS (SELECT FROM membership m WHERE m.person_id = person.person_id));
GRANT SELECT (person_id, email, disabled_at) ON person TO argonath_app;

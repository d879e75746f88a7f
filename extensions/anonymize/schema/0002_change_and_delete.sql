-- A project is described, changed and deleted. Its name and secret, which make its pseudonyms, still cannot change, and
-- its way back goes with it alone, as a whole.

ALTER TABLE research_project ADD description text NOT NULL DEFAULT '' CHECK (length(description) <= 200);
GRANT UPDATE (description, options), DELETE ON research_project TO argonath_app, argonath_system;

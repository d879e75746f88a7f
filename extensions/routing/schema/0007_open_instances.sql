-- What is open is found by its delivery. An index on the state would be written at each of an instance's steps, and
-- in a ledger that was last analyzed when everything was delivered it looks like the quickest way to one instance.

DROP INDEX delivery_instance_open;

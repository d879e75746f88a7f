from orthanc_plugins.arrivals import Arrivals


def opened() -> Arrivals:
    arrivals = Arrivals()
    arrivals.open("1.2", "north")
    arrivals.take_progress()
    return arrivals


def test_an_instance_of_a_study_that_is_not_open_must_be_claimed() -> None:
    assert not Arrivals().count("1.2")


def test_a_study_with_an_instance_that_the_database_does_not_know_stays_open() -> None:
    arrivals = opened()
    assert arrivals.count("1.2")
    assert not arrivals.close_if_idle("1.2")
    assert arrivals.take_progress() == [("1.2", 1)]
    assert arrivals.close_if_idle("1.2")
    assert not arrivals.count("1.2")


def test_progress_that_the_database_did_not_hear_keeps_the_study_open() -> None:
    arrivals = opened()
    arrivals.count("1.2")
    arrivals.restore(arrivals.take_progress())
    assert not arrivals.close_if_idle("1.2")
    assert arrivals.take_progress() == [("1.2", 1)]


def test_the_owner_is_known_after_the_study_closed_and_not_after_it_is_gone() -> None:
    arrivals = opened()
    arrivals.close_if_idle("1.2")
    assert arrivals.owner_of("1.2") == "north"
    arrivals.evict("1.2")
    assert arrivals.owner_of("1.2") is None


def test_after_a_lost_connection_every_idle_study_is_claimed_again() -> None:
    arrivals = opened()
    arrivals.reset({"1.3": "south"})
    assert arrivals.owner_of("1.2") is None
    assert arrivals.owner_of("1.3") == "south"
    assert not arrivals.is_open("1.2")

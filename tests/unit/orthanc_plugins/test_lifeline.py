import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.identity import Principal, Role
from orthanc_plugins.access import Request, storing
from orthanc_plugins.lifeline import Lifeline, Storing
from orthanc_plugins.node import records_of
from orthanc_plugins.sdk import Method

STOW = Storing("key 3", "north", "10.0.0.7", "/dicom-web/studies")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


@pytest.fixture
def node(folder: Path) -> Lifeline:
    node = Lifeline(folder)
    node.begin()
    return node


def set_back(file: Path, seconds: float) -> float:
    changed = file.stat().st_mtime - seconds
    os.utime(file, (changed, changed))
    return changed


def test_the_first_start_and_one_after_a_clean_stop_find_nothing(
    node: Lifeline, folder: Path
) -> None:
    assert Lifeline(folder.with_name("new")).unclean_stop() is None
    node.serves(1, STOW)
    node.end()
    assert Lifeline(folder).unclean_stop() is None


def test_after_a_kill_the_next_node_knows_when_it_last_lived(node: Lifeline, folder: Path) -> None:
    set_back(folder / "alive", 1000)
    node.beat()
    changed = set_back(folder / "alive", 50)
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert stop.alive_at == datetime.fromtimestamp(changed, UTC)
    assert stop.storing == ()


def test_an_unclean_stop_is_told_once(node: Lifeline, folder: Path) -> None:
    node.serves(1, STOW)
    following = Lifeline(folder)
    following.begin()
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert stop.storing == ()


def test_a_stow_that_was_under_way_is_named(node: Lifeline, folder: Path) -> None:
    node.serves(1, STOW)
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert stop.storing == (STOW,)
    of_node, of_tenant = records_of(stop)
    assert of_node.tenant_id is None
    assert (of_tenant.tenant_id, of_tenant.actor, of_tenant.origin) == (
        "north",
        "key 3",
        "10.0.0.7",
    )


def test_a_stow_is_over_when_its_thread_serves_another_request(
    node: Lifeline, folder: Path
) -> None:
    node.serves(1, STOW)
    node.serves(2, STOW)
    node.serves(1, None)
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert len(stop.storing) == 1


def test_a_stow_of_long_ago_is_named_only_if_it_has_gone_on(node: Lifeline, folder: Path) -> None:
    for thread in (1, 2):
        node.serves(thread, STOW)
        set_back(folder / f"storing-{thread}", 60)
    node.goes_on(2)
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert len(stop.storing) == 1


def test_a_stow_that_rests_for_a_while_is_taken_for_over(node: Lifeline, folder: Path) -> None:
    for thread in (1, 2):
        node.serves(thread, STOW)
        node.rests(thread)
        set_back(folder / f"storing-{thread}", 3)
    node.goes_on(2)
    node.beat()
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert len(stop.storing) == 1


def test_a_stow_that_rests_since_now_may_go_on(node: Lifeline, folder: Path) -> None:
    node.serves(1, STOW)
    node.rests(1)
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert stop.storing == (STOW,)


def test_a_note_that_the_kill_cut_off_is_left_out(node: Lifeline, folder: Path) -> None:
    node.serves(1, STOW)
    (folder / "storing-1").write_text('{"actor": "ke')
    stop = Lifeline(folder).unclean_stop()
    assert stop is not None
    assert stop.storing == ()


def test_what_cannot_be_written_stops_no_request(node: Lifeline) -> None:
    node.end()
    node.serves(1, STOW)
    node.goes_on(1)
    node.serves(1, None)
    node.beat()


@pytest.mark.parametrize(
    ("method", "path", "noted"),
    [
        (Method.POST, "/dicom-web/studies", True),
        (Method.GET, "/dicom-web/studies", False),
        (Method.POST, "/tools/find", False),
    ],
)
def test_only_requests_that_store_are_noted(method: Method, path: str, noted: bool) -> None:
    request = Request(path, Principal("key 3", Role.MEMBER, "north"), "10.0.0.7")
    assert (storing(request, method) is not None) is noted
    assert storing(Request(path, None), method) is None

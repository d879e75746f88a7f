"""What the node lets a tenant read of others' studies, without any look into the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.identity import Principal, Role
from gateway.sharing import Share, Shares
from orthanc_plugins.access import Request
from orthanc_plugins.shares import LiveShares

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OWNERS = {"1.2.1": "north", "1.2.2": "north"}


def share(
    uid: str = "1.2.1", *, minutes: int = 10, revoked: bool = False, number: int = 1
) -> Share:
    return Share(number, "north", uid, "south", NOW + timedelta(minutes=minutes), revoked)


class Node:
    """A node at a time that a test moves, with somebody who asks."""

    def __init__(self, *shares: Share) -> None:
        self.now = NOW
        self.seconds = 0.0
        self.request: Request | None = Request(
            "/dicom-web/studies", Principal("sue", Role.MEMBER, "south"), "10.0.0.1"
        )
        self.owners = dict(OWNERS)
        database: Any = None
        self.shares = LiveShares(
            database,
            self.owners.get,
            lambda: self.request,
            now=lambda: self.now,
            clock=lambda: self.seconds,
        )
        self.shares._shares = Shares(shares)

    @property
    def uses(self) -> list[tuple[str, str]]:
        return [(use.who, use.refused) for use in self.shares._waiting]


def test_a_shared_study_is_read_by_the_tenant_that_it_is_shared_with_and_by_no_other() -> None:
    node = Node(share())
    assert node.shares.allow("south", "1.2.1")
    assert not node.shares.allow("east", "1.2.1")
    assert list(node.shares.studies("south")) == ["1.2.1"]
    assert list(node.shares.studies("east")) == []


def test_another_study_of_the_same_owner_is_not_read() -> None:
    assert not Node(share()).shares.allow("south", "1.2.2")


def test_a_share_ends_when_its_time_is_over_though_nobody_told() -> None:
    node = Node(share())
    node.now += timedelta(minutes=10)
    assert not node.shares.allow("south", "1.2.1")
    assert list(node.shares.studies("south")) == []


def test_a_revoked_share_is_none() -> None:
    node = Node(share(revoked=True))
    assert not node.shares.allow("south", "1.2.1")
    assert list(node.shares.studies("south")) == []


def test_a_share_that_was_made_anew_counts_though_the_one_before_was_revoked() -> None:
    revoked, live = share(revoked=True, minutes=90), share(number=2)
    for known in ([revoked, live], [live, revoked]):
        assert Node(*known).shares.allow("south", "1.2.1")


@pytest.mark.parametrize("owner", ["east", None])
def test_a_uid_that_now_belongs_to_somebody_else_is_not_shared(owner: str | None) -> None:
    node = Node(share())
    node.owners = {"1.2.1": owner} if owner else {}
    node.shares._owner_of = node.owners.get
    assert not node.shares.allow("south", "1.2.1")
    assert list(node.shares.studies("south")) == []


def test_a_use_is_told_once_for_each_visit() -> None:
    node = Node(share())
    for _ in range(50):
        node.shares.allow("south", "1.2.1")
    assert node.uses == [("sue", "")]
    node.seconds += 601
    node.shares.allow("south", "1.2.1")
    assert len(node.uses) == 2


@pytest.mark.parametrize(
    ("ended", "why"), [(share(revoked=True), "revoked"), (share(minutes=-1), "expired")]
)
def test_an_attempt_after_the_end_is_told_with_its_reason(ended: Share, why: str) -> None:
    node = Node(ended)
    node.shares.allow("south", "1.2.1")
    assert node.uses == [("sue", why)]


def test_an_attempt_on_what_was_never_shared_is_told_to_nobody() -> None:
    node = Node(share())
    node.shares.allow("south", "1.2.2")
    node.shares.allow("east", "1.2.1")
    assert node.uses == []


def test_a_list_is_no_view() -> None:
    node = Node(share())
    node.shares.studies("south")
    assert node.uses == []


def test_our_own_processes_read_on_behalf_of_somebody_who_is_told_already() -> None:
    node = Node(share())
    node.request = Request("/dicom-web/studies", Principal("argonath", Role.SERVICE, "south"))
    assert node.shares.allow("south", "1.2.1")
    assert node.uses == []


class Unreachable:
    def system_session(self, _reason: str) -> Any:
        raise DatabaseUnavailable


def test_nothing_is_shared_while_it_is_unknown_what_was_revoked() -> None:
    node = Node(share())
    node.shares._database = Unreachable()  # type: ignore[assignment]
    node.shares.changed()
    assert not node.shares.allow("south", "1.2.1")

from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import NotAuthenticated
from gateway.identity import Principal, Role
from orthanc_plugins.access import Principals, Request, RequestFilter, is_private

PEOPLE = {
    "member": Principal("m", Role.MEMBER, "north"),
    "viewer": Principal("v", Role.VIEWER, "north"),
    "admin": Principal("a", Role.SYSTEM_ADMIN, None),
    "entered": Principal("e", Role.SYSTEM_ADMIN, "north"),
    "expired": Principal("x", Role.OWNER, "north", expires_at=datetime.now(UTC) - timedelta(1)),
}


class Directory:
    """Authenticates PEOPLE and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused: list[str] = []

    def __call__(self, token: str, _chosen: str) -> Principal:
        self.asked += 1
        if token not in PEOPLE:
            raise NotAuthenticated
        return PEOPLE[token]

    def note(self, request: Request, method: str) -> None:
        self.refused.append(f"{method} {request.path}")


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def principals(directory: Directory) -> Principals:
    return Principals(directory, "internal", clock=lambda: clock[0])


clock = [0.0]


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **more}


def test_the_tenant_header_is_believed_of_our_own_processes_alone(principals: Principals) -> None:
    header = {"x-argonath-tenant": "south"}
    internal = principals.of(bearer("internal", **header))
    assert internal is not None
    assert internal.tenant_id == "south"
    member = principals.of(bearer("member", **header))
    assert member is not None
    assert member.tenant_id == "north"


def test_a_token_is_asked_for_once_until_something_changes(
    principals: Principals, directory: Directory
) -> None:
    principals.of(bearer("member"))
    principals.of(bearer("member"))
    assert directory.asked == 1
    principals.forget()
    principals.of(bearer("member"))
    assert directory.asked == 2


def test_a_refusal_is_remembered_for_seconds_only(
    principals: Principals, directory: Directory
) -> None:
    assert principals.of(bearer("wrong")) is None
    assert principals.of(bearer("wrong")) is None
    assert directory.asked == 1
    clock[0] += 6
    principals.of(bearer("wrong"))
    assert directory.asked == 2


def test_an_expired_principal_is_nobody(principals: Principals) -> None:
    assert principals.of(bearer("expired")) is None


def test_a_revocation_during_the_question_is_not_forgotten() -> None:
    def authenticate(token: str, _chosen: str) -> Principal:
        principals.forget()
        asked.append(token)
        return PEOPLE["member"]

    asked: list[str] = []
    principals = Principals(authenticate, "internal")
    principals.of(bearer("member"))
    principals.of(bearer("member"))
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("token", "method", "path", "allowed"),
    [
        ("member", 1, "/dicom-web/studies", True),
        ("member", 2, "/dicom-web/studies", True),
        ("viewer", 2, "/dicom-web/studies", False),
        ("member", 3, "/dicom-web/studies", False),
        ("member", 7, "/dicom-web/studies", False),
        ("member", 2, "/tools/find", False),
        ("member", 1, "/studies", False),
        ("member", 1, "/dicom-web/../studies", False),
        ("member", 1, "/dicom-web//studies", False),
        ("member", 1, "/dicom-web/studies/%2e%2e/%2e%2e/system", False),
        ("member", 1, "/DICOM-WEB/studies", False),
        ("entered", 1, "/system", False),
        ("entered", 1, "/dicom-web/studies", True),
        ("admin", 1, "/system", True),
        ("admin", 2, "/tools/find", True),
        ("admin", 2, "/instances", False),
        ("admin", 4, "/webdav/uploads/x", False),
        ("admin", 2, "/argonath/admit", False),
        ("admin", 2, "//argonath//admit", False),
        ("admin", 2, "/%61rgonath/admit", False),
        ("admin", 2, "/%2561RGONATH/admit", False),
        ("internal", 2, "/argonath/admit", False),
        ("internal", 1, "/argonath/ready", True),
        ("member", 1, "/argonath/ready", False),
        ("wrong", 1, "/dicom-web/studies", False),
        ("", 1, "/dicom-web/studies", False),
    ],
)
def test_a_request_is_permitted_by_role_and_path(
    principals: Principals,
    directory: Directory,
    token: str,
    method: int,
    path: str,
    allowed: bool,
) -> None:
    decide = RequestFilter(principals, directory.note, lambda *_: None)
    assert decide(path, method=method, ip="10.0.0.1", headers=bearer(token)) is allowed


def test_a_refused_write_of_somebody_known_is_noted(
    principals: Principals, directory: Directory
) -> None:
    decide = RequestFilter(principals, directory.note, lambda *_: None)
    decide("/dicom-web/studies", method=2, ip="10.0.0.1", headers=bearer("viewer"))
    decide("/dicom-web/studies", method=2, ip="10.0.0.1", headers=bearer("wrong"))
    decide("/system", method=1, ip="10.0.0.1", headers=bearer("viewer"))
    assert directory.refused == ["POST /dicom-web/studies"]


def test_the_next_request_of_a_thread_is_never_the_previous_principals(
    principals: Principals, directory: Directory
) -> None:
    decide = RequestFilter(principals, directory.note, lambda *_: None)
    decide("/dicom-web/studies", method=2, ip="10.0.0.1", headers=bearer("member"))
    decide("/dicom-web/studies", method=2, ip="10.0.0.1", headers={})
    request = decide.current()
    assert request is not None
    assert request.principal is None


def test_an_error_refuses(directory: Directory) -> None:
    def broken(token: str, _chosen: str) -> Principal:
        raise RuntimeError

    decide = RequestFilter(Principals(broken, "internal"), directory.note, lambda *_: None)
    assert not decide("/dicom-web/studies", method=1, ip="", headers=bearer("member"))


def test_only_the_readiness_of_our_own_paths_is_public() -> None:
    assert is_private("/argonath/admit")
    assert not is_private("/argonath/ready")
    assert not is_private("/dicom-web/studies")


def link_visitor(token: str) -> Principal:
    if token != "visit":
        raise NotAuthenticated
    return Principal("link 1", Role.VIEWER, None, study_uid="1.2.1")


@pytest.fixture
def with_links(directory: Directory) -> Principals:
    return Principals(directory, "internal", link_visitor)


def test_the_cookie_of_a_link_makes_a_visitor_and_no_other_token_does(
    with_links: Principals,
) -> None:
    visitor = with_links.of({"cookie": "argonath_link=visit"})
    assert visitor is not None
    assert visitor.study_uid == "1.2.1"
    assert with_links.of({"cookie": "argonath_link=member"}) is None
    assert with_links.of({"cookie": "argonath_link=internal"}) is None
    assert with_links.of({"cookie": "argonath_session=visit"}) is None
    assert with_links.of(bearer("visit")) is None


def test_somebody_signed_in_stays_who_they_are_though_they_opened_a_link(
    with_links: Principals,
) -> None:
    both = {"cookie": "argonath_session=member; argonath_link=visit"}
    who, visitor = with_links.of(both), with_links.visitor(both)
    assert who is not None
    assert who.study_uid is None
    assert visitor is not None
    assert visitor.study_uid == "1.2.1"

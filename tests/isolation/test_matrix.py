"""Every route, method, caller and resource: what the policy says is what happens.

`make test` calls a selection; `make isolation-report` calls everything.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import closing

import pytest

from gateway.routes import action_of
from tests.isolation import conftest, matrix
from tests.isolation.expectations import Expected
from tests.isolation.matrix import Run
from tests.isolation.routes import METHODS, Route
from tests.isolation.world import Whose, World

SOME_CALLERS = ("nobody", "member", "system admin in south", "link")
SOME_METHODS = ("GET", "POST", "DELETE")
SOME_RESOURCES: Sequence[Whose] = ("other", "lent", "absent")
# Read by everybody of a tenant: own ones must be seen, else an empty archive would pass.
SEEN = (
    "/dicom-web/studies/{study}", "/dicom-web/studies/{study}/metadata",
    "/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frame}",
    "/dicom-web/studies/{study}/rendered", "/dicom-web/studies?StudyInstanceUID={study}",
    "/studies/{uid}", "/dicom-web/studies/{study}/series",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(world: World, every_route: list[Route], request: pytest.FixtureRequest) -> Run:
    """One run of the matrix, with what it changed."""
    world.gateway.wait_until(lambda: _is_quiet(world), 30)
    before = world.snapshot()
    if conftest.REPORT:
        wanted = matrix.cases(world, every_route, methods=METHODS)
    else:
        wanted = matrix.cases(
            world,
            every_route,
            methods=SOME_METHODS,
            callers=SOME_CALLERS,
            resources=SOME_RESOURCES,
        )
    made = matrix.run(world, wanted)
    after = world.snapshot()
    made.mismatches += [
        matrix.Mismatch(what, f"changed: {state:.300} became {after.get(what, 'nothing'):.300}")
        for what, state in before.items()
        if after.get(what) != state
    ]
    request.config.stash[conftest.RUN] = made
    return made


def _is_quiet(world: World) -> bool:
    with world.as_admin() as session:
        row = session.execute(
            "SELECT EXISTS (SELECT FROM study WHERE state <> 'stable') "
            "OR EXISTS (SELECT FROM outbox WHERE dispatched_at IS NULL) "
            "OR EXISTS (SELECT FROM job WHERE task LIKE 'study_%' "
            "AND state IN ('waiting', 'running'))"
        ).fetchone()
    return row == (False,)


def test_the_policy_is_what_happens_and_nothing_of_another_tenant_is_told(run: Run) -> None:
    told = [f"{m.case}: {m.what}" for m in run.mismatches]
    assert not told, "\n".join([f"{len(told)} of {len(run.answers)}", *told[:50]])


def test_the_matrix_is_as_large_as_the_gateway(run: Run, every_route: list[Route]) -> None:
    called = {answer.case.route for answer in run.answers}
    assert called == set(every_route)
    groups = {route.group for route in every_route}
    assert groups == {"orthanc", "dicomweb", "searches", "portal"}
    assert sum(route.group == "orthanc" for route in every_route) > 230
    assert {answer.case.expected for answer in run.answers} >= {
        Expected.SIGN_IN, Expected.REFUSED, Expected.ABSENT, Expected.ALLOWED,
    }  # fmt: skip


def test_only_permitted_writes_are_left_out(run: Run) -> None:
    assert all(matrix.is_left_out(case) for case in run.left_out)
    assert all(case.expected is Expected.ALLOWED for case in run.left_out)


def test_what_orthanc_lists_is_either_in_the_policy_or_closed_to_everybody(
    every_route: list[Route],
) -> None:
    closed = {
        route.path
        for route in every_route
        if route.group == "orthanc"
        and all(
            action_of(method, route.path.removeprefix("/orthanc").replace("{", "").replace("}", ""))
            == "unknown-route"
            for method in ("GET", "POST", "PUT", "DELETE")
        )
    }
    assert "/orthanc/tools/reset" in closed
    assert "/orthanc/tools/execute-script" in closed
    assert "/orthanc/studies/{id}/merge" in closed
    assert "/orthanc/webdav" in closed
    assert "/orthanc/studies/{id}" not in closed


@pytest.mark.parametrize("path", SEEN)
@pytest.mark.parametrize("caller", ["viewer", "member", "admin", "owner", "system admin in south"])
def test_the_own_study_is_read(
    world: World, every_route: list[Route], caller: str, path: str
) -> None:
    route = next(r for r in every_route if r.path == path)
    found = {
        answer.case.whose: answer
        for answer in matrix.run(
            world, matrix.cases(world, [route], methods=["GET"], callers=[caller])
        ).answers
    }
    assert found["own"].status == 200
    assert len(found["own"].masked) > 20
    assert found["own"].masked != found["absent"].masked


@pytest.mark.parametrize("path", SEEN)
def test_a_study_that_is_shared_is_read_as_an_own_one(
    world: World, every_route: list[Route], path: str
) -> None:
    route = next(r for r in every_route if r.path == path)
    (read,) = matrix.run(
        world,
        matrix.cases(world, [route], methods=["GET"], callers=["viewer"], resources=["lent"]),
    ).answers
    assert read.status == 200
    assert len(read.masked) > 20


TIMED = (
    "/dicom-web/studies/{study}/metadata",
    "/dicom-web/studies?StudyInstanceUID={study}",
    "/dicom-web/instances?SOPInstanceUID={instance}",
    "/studies/{uid}",
)


@pytest.mark.parametrize("path", TIMED)
def test_an_answer_takes_as_long_for_anothers_study_as_for_none(
    world: World, every_route: list[Route], path: str
) -> None:
    """In pairs, in turns first: told apart are they where most pairs say the same."""
    route = next(r for r in every_route if r.path == path)
    other, absent = matrix.cases(
        world, [route], methods=["GET"], callers=["member"], resources=("other", "absent")
    )
    pairs: list[tuple[float, float]] = []
    with closing(matrix.Client(world)) as client:
        for turn in range(300):
            first, second = (other, absent) if turn % 2 else (absent, other)
            one, two = client.ask(first).seconds, client.ask(second).seconds
            pairs.append((one, two) if turn % 2 else (two, one))
    slower = sum(one > two for one, two in pairs) / len(pairs)
    medians = [statistics.median(times) * 1000 for times in zip(*pairs, strict=True)]
    told = f"other {medians[0]:.2f} ms, absent {medians[1]:.2f} ms, slower in {slower:.0%}"
    print(f"{path}: {told}")
    is_shifted = slower > 0.7 or slower < 0.3
    assert not (is_shifted and abs(medians[0] - medians[1]) > 0.05), told


def test_orthanc_is_listed_with_what_its_description_leaves_out(every_route: list[Route]) -> None:
    paths = {route.path for route in every_route}
    assert {"/orthanc/studies", "/orthanc/changes", "/orthanc/tools/reset"} <= paths
    assert "/dicom-web/studies/{study}/series/{series}/instances/{instance}" in paths

"""One gateway for all tests of isolation, and the report of a whole run."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from gateway.settings import Settings
from tests.acceptance.conftest import CHECKOUT, RunningGateway, make_gateway
from tests.isolation import report, routes
from tests.isolation.matrix import Run
from tests.isolation.routes import Route
from tests.isolation.world import World, make_world
from webapp import create_app

# `make isolation-report` names a file: then every combination is called, and the page written.
REPORT = os.environ.get("ARGONATH_ISOLATION_REPORT", "")
RUN = pytest.StashKey[Run]()
ATTACKS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture(scope="session")
def sources() -> Iterator[Path]:
    """A copy of what runs: `test_planted_leaks` changes it, nobody else."""
    folder = Path("/data") / f"sources-{uuid.uuid4().hex[:6]}"
    for package in ("gateway", "orthanc_plugins", "webapp", "extensions"):
        shutil.copytree(CHECKOUT / package, folder / package)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def gateway(sources: Path) -> Iterator[RunningGateway]:
    """A gateway of these tests' own; every part finds the copy before the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{sources}:{os.environ.get('PYTHONPATH', '')}")
        running = make_gateway(stable_after_s="2", retry_delay_s="1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def world(gateway: RunningGateway, sources: Path) -> Iterator[World]:
    """Two tenants with all that there is to protect."""
    with make_world(gateway, sources) as made:
        yield made


@pytest.fixture(scope="session")
def portal() -> Flask:
    """The portal as it is built, for its URL map; without a database."""
    settings = Settings(
        database_url="postgresql://nobody@/none?host=/nonexistent&connect_timeout=1",
        redis_url="unix:///nonexistent/redis.sock",
        secret_key="isolation",
    )
    return create_app(settings)


@pytest.fixture(scope="session")
def every_route(portal: Flask, tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """Every route of Orthanc, of the DICOMweb plugin, of the portal and of extensions."""
    folder: Path = tmp_path_factory.mktemp("routes")
    return [
        *routes.of_orthanc(folder),
        *routes.of_node(),
        *routes.of_dicomweb(folder),
        *routes.of_portal(portal),
    ]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ATTACKS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    result = yield
    if result.when == "call" or result.outcome == "failed":
        name = item.nodeid.rpartition("/")[2]
        item.config.stash[ATTACKS].append((name, result.outcome))
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    run = session.config.stash.get(RUN, None)
    if REPORT and run is not None:
        Path(REPORT).write_text(report.page(run, session.config.stash[ATTACKS]))

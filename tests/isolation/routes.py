"""Every HTTP route of a gateway, as its parts themselves list them.

Orthanc tells its own REST by ``Orthanc --openapi`` (what its description leaves out stands in its
log), the DICOMweb plugin logs what it registers, and the portal has Flask's URL map.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from gateway.access import Action
from gateway.needs import Needs, Open
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_IGNORED = re.compile(r"Ignoring URI without API documentation: [A-Z]+ (\S+)")
_OUR_OWN = re.compile(r'RegisterRestCallback\("([^"]+)"')
_REGISTERED = re.compile(r"registered a REST callback.* on: (\S+)")
# Orthanc's handlers outside of its REST API, which no description lists.
_BESIDE_REST = (
    "/", "/app/explorer.html", "/app/images/orthanc-logo.png", "/webdav", "/webdav/",
    "/webdav/by-patients", "/webdav/by-studies", "/webdav/uploads", "/robots.txt",
    "/favicon.ico", "/nonexistent",
)  # fmt: skip
# Searches, whose question is in the query string.
_SEARCHES = (
    "/dicom-web/studies?StudyInstanceUID={study}",
    "/dicom-web/studies?PatientID={patient}",
    "/dicom-web/studies?AccessionNumber={accession}",
    "/dicom-web/studies?0020000D={study}&includefield=all",
    "/dicom-web/series?StudyInstanceUID={study}",
    "/dicom-web/series?SeriesInstanceUID={series}",
    "/dicom-web/instances?StudyInstanceUID={study}",
    "/dicom-web/instances?SOPInstanceUID={instance}",
    "/dicom-web/instances?SeriesInstanceUID={series}&includefield=0020000D",
    "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
    "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&rows=8",
    "/wado?requestType=WADO&objectUID={instance}",
)


@dataclass(frozen=True)
class Route:
    """A path with {places}; of a page of the portal what each method needs, as it declares."""

    group: str
    path: str
    needs: tuple[tuple[str, Action | Open], ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the places, in the order of the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))


def of_orthanc(folder: Path) -> list[Route]:
    """Orthanc's REST API and what stands beside it, reached under /orthanc."""
    target = folder / "openapi.json"
    # For its examples Orthanc would ask a public server; whatever fails is named in the log.
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        ["Orthanc", f"--openapi={target}", _bare_configuration(folder)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **nowhere},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = set(json.loads(target.read_text())["paths"]) | set(_IGNORED.findall(done.stderr))
    return [Route("orthanc", "/orthanc" + path) for path in sorted(listed | {*_BESIDE_REST})]


def of_node() -> list[Route]:
    """What our own plugin registers."""
    patterns = _OUR_OWN.findall((CHECKOUT / "orthanc_plugins/main.py").read_text())
    assert patterns, "orthanc_plugins/main.py registers no route"
    return [Route("orthanc", r.path) for r in plugin_routes(patterns) if "tools" not in r.path]


def of_dicomweb(folder: Path) -> list[Route]:
    """What the DICOMweb plugin registers, and searches on it."""
    log = folder / "plugins.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["Orthanc", "--verbose-plugins", _bare_configuration(folder)],
            stdout=output,
            stderr=output,
        )
        try:
            _until(lambda: "Orthanc has started" in log.read_text())
        finally:
            process.terminate()
            process.wait(30)
    patterns = _REGISTERED.findall(log.read_text())
    return [*plugin_routes(patterns), *(Route("searches", path) for path in _SEARCHES)]


def plugin_routes(patterns: Iterable[str]) -> Iterator[Route]:
    """The plugin's regular expressions as paths with places."""
    for pattern in sorted(set(patterns)):
        path = re.sub(r"servers/\(\[\^/\]\*\)", "servers/{name}", pattern)
        path = path.replace("(.*)", "{rest}").replace("([0-9.]+)", "([^/]*)")
        for place in ("study", "series", "instance", "frame"):
            path = path.replace("([^/]*)", f"{{{place}}}", 1)
        inside = path.startswith(("/dicom-web", "/wado"))
        yield Route("dicomweb", path if inside else f"/orthanc{path}")
        if path.startswith("/dicom-web/servers"):
            yield Route("orthanc", f"/orthanc{path}")  # the other way to the same place


def of_portal(app: Flask) -> list[Route]:
    """The portal's pages and those of extensions; what says nothing is for nobody."""
    found: dict[str, dict[str, Action | Open]] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        needs = Needs.of(app.view_functions[rule.endpoint])
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.setdefault(path, {})[method] = needs.what if needs else Action.UNKNOWN_ROUTE
    return [Route("portal", path, tuple(sorted(found[path].items()))) for path in sorted(found)]


def _bare_configuration(folder: Path) -> str:
    """An Orthanc with the DICOMweb plugin as the gateway configures it, and nothing else."""
    ours = json.loads(re.sub(r"(?m)^\s*//.*$|\s//.*$", "", _readable(CHECKOUT / "orthanc.json")))
    ports = {"HttpPort": free_port(), "DicomPort": free_port()}
    file = folder / "bare.json"
    file.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "bare"),
                "IndexDirectory": str(folder / "bare"),
                "Plugins": [path for path in ours["Plugins"] if "DicomWeb" in path],
                "DicomWeb": ours["DicomWeb"],
                **ports,
            }
        )
    )
    return str(file)


def _readable(file: Path) -> str:
    """Orthanc's configuration with a number where the environment's value would stand."""
    return re.sub(r'(?<!")\$\{\w+\}', "0", file.read_text())


def _until(holds: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)

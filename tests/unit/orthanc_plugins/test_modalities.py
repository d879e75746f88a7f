"""Which AE titles Orthanc itself knows, and for what."""

from __future__ import annotations

import json
from typing import Any

from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.modalities import Modalities

CT1, WS1 = CallingAE("CT1", host="10.0.0.7", port=104), CallingAE("WS1", host="10.0.0.8", port=104)


class Told:
    """What Orthanc was told; refuses a host of `refuses`."""

    OrthancException = RuntimeError

    def __init__(self, refuses: str = "") -> None:
        self.modalities: dict[str, dict[str, Any]] = {}
        self.refuses = refuses

    def RestApiPut(self, uri: str, body: str) -> bytes:
        place = json.loads(body)
        if place["Host"] == self.refuses:
            raise RuntimeError
        self.modalities[uri] = place
        return b""

    def RestApiDelete(self, uri: str) -> None:
        del self.modalities[uri]

    @property
    def titles(self) -> set[str]:
        return {place["AET"] for place in self.modalities.values()}


def directory(*callers: CallingAE) -> Directory:
    return Directory({"NORTH": "north"}, {"north": callers})


def test_orthanc_knows_who_is_listed_with_a_place_and_nobody_else() -> None:
    orthanc = Told()
    modalities = Modalities(orthanc)  # type: ignore[arg-type]
    modalities.begin(directory(CT1, CallingAE("CT2")))
    assert orthanc.titles == {"CT1"}
    modalities.follow(directory(WS1))
    assert orthanc.titles == {"WS1"}


def test_two_tenants_may_have_a_modality_of_the_same_title() -> None:
    orthanc = Told()
    there = CallingAE("CT1", host="10.9.9.9", port=104)
    modalities = Modalities(orthanc)  # type: ignore[arg-type]
    modalities.begin(Directory({}, {"north": (CT1,), "south": (there,)}))
    assert {place["Host"] for place in orthanc.modalities.values()} == {"10.0.0.7", "10.9.9.9"}


def test_nothing_is_allowed_but_to_ask_for_commitment_and_to_report_on_it() -> None:
    orthanc = Told()
    Modalities(orthanc).alias_of(CT1)  # type: ignore[arg-type]
    (place,) = orthanc.modalities.values()
    allowed = {name for name, value in place.items() if value is True}
    assert allowed == {"AllowEventReport", "AllowNAction"}


def test_nothing_is_told_before_orthanc_can_hear_it() -> None:
    orthanc = Told()
    Modalities(orthanc).follow(directory(CT1))  # type: ignore[arg-type]
    assert orthanc.titles == set()


def test_a_place_that_orthanc_refuses_stops_no_other() -> None:
    orthanc = Told(refuses="10.0.0.7")
    Modalities(orthanc).begin(directory(CT1, WS1))  # type: ignore[arg-type]
    assert orthanc.titles == {"WS1"}

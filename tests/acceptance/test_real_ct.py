"""A real CT, as a modality sends it: every data set comes back as it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from tests.acceptance.conftest import RunningGateway
from tests.conftest import SHARED_DATA

FOLDER = SHARED_DATA / "ct-philips-phantom-58"


@pytest.fixture(scope="module")
def ct() -> list[Path]:
    if not FOLDER.is_dir():
        pytest.skip("no real CT here: name its parent folder in ARGONATH_TEST_DATA")
    return sorted(FOLDER.iterdir())


def test_a_real_ct_is_read_as_it_was_sent(gateway: RunningGateway, ct: list[Path]) -> None:
    sent = gateway.storescu(*ct)
    assert sent.returncode == 0
    assert sent.stderr.count("Received Store Response (Success)") == len(ct) == 58

    original = {ds.SOPInstanceUID: ds for ds in map(dcmread, ct)}
    first = next(iter(original.values()))
    client = gateway.dicomweb(gateway.north_key)
    by_name = client.search_for_studies(search_filters={"PatientName": f"{first.PatientName}"})
    assert first.StudyInstanceUID in {row["0020000D"]["Value"][0] for row in by_name}

    series = client.retrieve_series(first.StudyInstanceUID, first.SeriesInstanceUID)
    got = {ds.SOPInstanceUID: ds for ds in series}
    assert got.keys() == original.keys()
    for uid, ds in original.items():
        assert got[uid] == ds
        assert got[uid].PixelData == ds.PixelData

    assert gateway.dicomweb(gateway.south_key).search_for_instances(first.StudyInstanceUID) == []

"""A real CT, as a modality sends it: its tenant reads it as it was sent, nobody else does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from requests import HTTPError

from tests.acceptance.conftest import RunningGateway
from tests.conftest import SHARED_DATA

FOLDER = SHARED_DATA / "ct-philips-phantom-58"


def real_ct() -> list[Path]:
    """The 58 files of one series; skips where they are not."""
    if not FOLDER.is_dir():
        pytest.skip("no real CT here: name its parent folder in ARGONATH_TEST_DATA")
    return sorted(FOLDER.iterdir())


@dataclass
class Sent:
    """What was sent, by SOPInstanceUID, and the key of the tenant that has it."""

    instances: dict[str, Dataset]
    north: DICOMwebClient

    @property
    def first(self) -> Dataset:
        return next(iter(self.instances.values()))

    @property
    def study(self) -> str:
        return str(self.first.StudyInstanceUID)

    @property
    def series(self) -> str:
        return str(self.first.SeriesInstanceUID)


@pytest.fixture(scope="module")
def sent(gateway: RunningGateway) -> Sent:
    """The CT, stored by storescu to NORTH."""
    files = real_ct()
    answer = gateway.storescu(*files)
    assert answer.returncode == 0
    assert answer.stderr.count("Received Store Response (Success)") == len(files) == 58
    instances = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, files)}
    return Sent(instances, gateway.dicomweb(gateway.north_key))


def test_the_study_is_found_by_name_wildcard_and_percent_encoding(
    gateway: RunningGateway, sent: Sent
) -> None:
    name = str(sent.first.PatientName)
    for query in (name, f"{name[:3]}*", f"*{name[-3:]}", f"?{name[1:]}"):
        found = sent.north.search_for_studies(search_filters={"PatientName": query})
        assert sent.study in {row["0020000D"]["Value"][0] for row in found}, query
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    answer = gateway.get(f"/dicom-web/studies?PatientName={encoded}", gateway.north_key)
    assert sent.study in {row["0020000D"]["Value"][0] for row in answer.json()}
    nobody = sent.north.search_for_studies(search_filters={"PatientName": f"{name}x"})
    assert nobody == []


def test_metadata_tells_what_was_sent(sent: Sent) -> None:
    answered = sent.north.retrieve_series_metadata(sent.study, sent.series)
    told = {str(m["00080018"]["Value"][0]): m for m in answered}
    assert told.keys() == sent.instances.keys()
    for uid, original in sent.instances.items():
        bulk = {tag for tag, element in told[uid].items() if "BulkDataURI" in element}
        metadata = Dataset.from_json({t: e for t, e in told[uid].items() if t not in bulk})
        assert {original[tag].VR for tag in bulk} <= {"OB", "OW"}
        expected = Dataset()
        for element in original:
            if f"{element.tag:08X}" not in bulk:
                expected.add(element)
        assert metadata == expected


def test_a_frame_is_the_pixels_that_were_sent(sent: Sent) -> None:
    frames = sent.north.retrieve_instance_frames(
        sent.study, sent.series, sent.first.SOPInstanceUID, [1]
    )
    assert frames == [sent.first.PixelData]


def test_the_series_comes_back_whole_and_equal(sent: Sent) -> None:
    series = sent.north.retrieve_series(sent.study, sent.series)
    got = {ds.SOPInstanceUID: ds for ds in series}
    assert got.keys() == sent.instances.keys()
    for uid, original in sent.instances.items():
        assert got[uid] == original
        assert got[uid].PixelData == original.PixelData


def test_the_other_tenant_finds_nothing_and_gets_404(gateway: RunningGateway, sent: Sent) -> None:
    south = gateway.dicomweb(gateway.south_key)
    assert south.search_for_studies(search_filters={"StudyInstanceUID": sent.study}) == []
    assert south.search_for_instances(sent.study) == []
    for read in (
        lambda: south.retrieve_series(sent.study, sent.series),
        lambda: south.retrieve_series_metadata(sent.study, sent.series),
        lambda: south.retrieve_instance_frames(
            sent.study, sent.series, sent.first.SOPInstanceUID, [1]
        ),
    ):
        with pytest.raises(HTTPError, match="404"):
            read()


@pytest.mark.parametrize("path", ["studies", "studies/{}", "studies/{}/metadata"])
def test_without_a_key_there_is_401(gateway: RunningGateway, sent: Sent, path: str) -> None:
    assert gateway.get(f"/dicom-web/{path.format(sent.study)}").status_code == 401

"""The peer: the same Orthanc and DICOMweb plugin, without anything of ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import httpx

from tests.acceptance.conftest import free_port

_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


class StockOrthanc:
    """Stock Orthanc with its defaults; `tuned` sets TCP_NODELAY=1, without which DIMSE is slow."""

    def __init__(self, folder: Path, *, tuned: bool) -> None:
        folder.mkdir(parents=True)
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        configuration = folder / "orthanc.json"
        configuration.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder),
                    "IndexDirectory": str(folder),
                    "Plugins": [_PLUGIN],
                    "HttpPort": self.http_port,
                    "DicomPort": self.dicom_port,
                    "DicomAlwaysAllowStore": True,
                    "OverwriteInstances": False,
                    "SyncStorageArea": True,
                }
            )
        )
        environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
        if tuned:
            environment["TCP_NODELAY"] = "1"
        with (folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["Orthanc", configuration], env=environment, stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        for _ in range(200):
            try:
                httpx.get(f"{self.url}/system")
                return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError("stock Orthanc did not start")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

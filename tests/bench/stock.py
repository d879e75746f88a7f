"""The peer: the same Orthanc and DICOMweb plugin, without anything of ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


class StockOrthanc:
    """Stock Orthanc with its defaults, but for `options` of its configuration.

    `tuned` sets TCP_NODELAY=1, without which DIMSE is slow.
    """

    def __init__(self, folder: Path, *, tuned: bool, **options: Any) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        (folder / "orthanc.json").write_text(
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
                    **options,
                }
            )
        )
        self._environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
        if tuned:
            self._environment["TCP_NODELAY"] = "1"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", self._folder / "orthanc.json"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
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


@contextmanager
def running(folder: Path, *, tuned: bool = True, **options: Any) -> Iterator[StockOrthanc]:
    """One that runs, and ends with the block."""
    stock = StockOrthanc(folder, tuned=tuned, **options)
    stock.start()
    try:
        yield stock
    finally:
        stock.stop()

"""Before Orthanc starts: planner statistics for its SQLite index, so that a look-up stays flat.

Without statistics SQLite 3.46 plans Orthanc's look-ups as scans of whole tables, and every read
grows with the archive (a WADO-RS instance: 30 times slower at 60,000 studies than at 2,000). The
figures written here are those of a very large and selective archive; SQLite reads them when it
opens the file. No row and no index of Orthanc's is touched. A real ANALYZE would plan worse than
no statistics at all, therefore they are written anew at every start.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

FLAT = "flat"
_N = 100_000_000
# Table, index, and what sqlite_stat1 says of it: rows, then rows for each equal prefix of columns
# (https://sqlite.org/fileformat2.html#stat1tab).
_STATISTICS = (
    ("Resources", "PublicIndex", (_N, 1)),
    ("Resources", "ChildrenIndex", (_N, 10)),
    ("Resources", "ResourceTypeIndex", (_N, _N // 4)),
    ("MainDicomTags", "sqlite_autoindex_MainDicomTags_1", (6 * _N, 6, 3, 1)),
    ("MainDicomTags", "MainDicomTagsIndex1", (6 * _N, 6)),
    ("DicomIdentifiers", "sqlite_autoindex_DicomIdentifiers_1", (3 * _N, 3, 2, 1)),
    ("DicomIdentifiers", "DicomIdentifiersIndex1", (3 * _N, 3)),
    ("DicomIdentifiers", "DicomIdentifiersIndex2", (3 * _N, _N, _N // 2)),
    ("DicomIdentifiers", "DicomIdentifiersIndexValues", (3 * _N, 4)),
    ("Metadata", "sqlite_autoindex_Metadata_1", (5 * _N, 5, 1)),
    ("AttachedFiles", "sqlite_autoindex_AttachedFiles_1", (_N, 2, 1)),
    ("Labels", "sqlite_autoindex_Labels_1", (_N, 1, 1)),
    ("Labels", "LabelsIndex1", (_N, 1)),
    ("Labels", "LabelsIndex2", (_N, _N // 100)),
)
# The form of Orthanc's own statement for a study by an identifier, with a label (`/tools/find`).
_LOOK_UP = """
    WITH Lookup AS (
        SELECT studies.publicId, studies.internalId,
               ROW_NUMBER() OVER (ORDER BY studies.publicId) AS rowNumber
        FROM Resources AS studies
        INNER JOIN DicomIdentifiers t0 ON t0.id = studies.internalId
               AND t0.tagGroup = 16 AND t0.tagElement = 32
        WHERE studies.resourceType = 2 AND t0.value = ?
          AND (SELECT COUNT(1) FROM Labels AS selected
               WHERE selected.id = studies.internalId AND selected.label IN (?)) = 1)
    SELECT 1, Lookup.internalId, Lookup.rowNumber, Lookup.publicId, NULL, NULL FROM Lookup
    UNION
    SELECT 2, Lookup.internalId, NULL, value, tagGroup, tagElement
    FROM Lookup INNER JOIN MainDicomTags ON MainDicomTags.id = Lookup.internalId
    UNION
    SELECT 4, Lookup.internalId, NULL, value, type, NULL
    FROM Lookup INNER JOIN Metadata ON Metadata.id = Lookup.internalId
    ORDER BY 1, 3
"""
_FIRST_START_S = 30.0


def prepare(index: Path) -> str:
    """Write the statistics and answer `FLAT`, or what is the matter. Orthanc must not run."""
    try:
        if not index.exists():
            _create(index)
        with closing(sqlite3.connect(index, timeout=5)) as database:
            write(database)
            steps = slow_steps(database)
    except (sqlite3.Error, OSError, TimeoutError) as error:
        return f"reads grow with the archive: {type(error).__name__}: {error}"
    return f"reads grow with the archive: {'; '.join(steps)}" if steps else FLAT


def write(database: sqlite3.Connection) -> None:
    """Put the figures in place of whatever is there."""
    database.execute("ANALYZE sqlite_schema")  # makes sqlite_stat1, and fills in nothing
    with database:
        database.execute("DELETE FROM sqlite_stat1")
        database.executemany(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
            [(table, name, " ".join(map(str, stat))) for table, name, stat in _STATISTICS],
        )
    database.execute("ANALYZE sqlite_schema")  # this connection reads them


def slow_steps(database: sqlite3.Connection) -> list[str]:
    """The steps of a look-up that read more than the look-up finds; empty when all is well."""
    plan = database.execute("EXPLAIN QUERY PLAN " + _LOOK_UP, ("", "")).fetchall()
    return [step for step in (str(row[3]) for row in plan) if _is_slow(step)]


def _is_slow(step: str) -> bool:
    verb, _, table = step.partition(" ")
    if verb == "SCAN":
        return not table.startswith(("Lookup", "(subquery"))
    return step.startswith("SEARCH t0 ") and "(value=?)" not in step


def _create(index: Path) -> None:
    """Let Orthanc make its empty index: it is its own, and nobody else knows its schema."""
    index.parent.mkdir(parents=True, exist_ok=True)
    folder = str(index.parent)
    configuration = {
        "StorageDirectory": folder,
        "IndexDirectory": folder,
        "HttpServerEnabled": False,
        "DicomServerEnabled": False,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(configuration, file)
        file.flush()
        orthanc = subprocess.Popen(
            ["Orthanc", file.name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            assert orthanc.stderr is not None
            end = time.monotonic() + _FIRST_START_S
            for line in orthanc.stderr:
                if "Orthanc has started" in line:
                    break
                if time.monotonic() > end:
                    raise TimeoutError("Orthanc did not make its index.")
        finally:
            orthanc.terminate()
            orthanc.communicate()


if __name__ == "__main__":
    index, report = (Path(argument) for argument in sys.argv[1:3])
    state = prepare(index)
    report.write_text(state + "\n")
    print(f"Archive index: {state}", flush=True)

"""Names of files and objects from a pattern such as ``{PatientID}/{SOPInstanceUID}.dcm``.

Pure. Nothing that an object says can lead out of the folder or hide a file: each value becomes one
harmless part of a name.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import PurePosixPath

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import InvalidDicomError

from gateway.errors import GatewayError

STANDARD = "{PatientID}/{StudyDate}_{StudyInstanceUID}/{SOPInstanceUID}.dcm"
LONGEST_VALUE = 64
LONGEST_PART_BYTES = 200  # file systems take 255, and a file under way has a longer name
NOTHING = "none"  # for a tag that is absent or empty

_FIELD = re.compile(r"\{([^{}]*)\}")
_HARMFUL = re.compile(r"[^\w.^+=@-]")
_NOT_TEXT = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "UT", "LT", "ST", "AT"})


class NoName(GatewayError):
    """The object has no name by the destination's pattern.

    It is damaged or its values are too long; correct it, or the pattern.
    """


def checked(pattern: str) -> str:
    """The pattern; raises `ValueError` that says what is wrong with it."""
    fields = _FIELD.findall(pattern)
    for keyword in fields:
        if tag_for_keyword(keyword) is None or dictionary_VR(keyword) in _NOT_TEXT:
            raise ValueError(f"{{{keyword}}} names no tag of text; use keywords like {{PatientID}}")
    if "SOPInstanceUID" not in fields:
        raise ValueError("must hold {SOPInstanceUID}: else one instance would replace another")
    fixed = _FIELD.sub("x", pattern)
    if re.search(r"[^\w./^+=@ -]", fixed):
        raise ValueError("may hold letters, digits and . _ - ^ + = @ / besides tags in { }")
    if any(part.startswith(".") or part != part.strip() for part in fixed.split("/")):
        raise ValueError("no part of the path may begin with a dot or a space, or end with one")
    if "" in fixed.split("/"):
        raise ValueError("must not begin or end with /, or have two together")
    return pattern


def name_of(pattern: str, file: bytes) -> PurePosixPath:
    """Where a DICOM file goes, relative; raises `NoName`."""
    keywords = _FIELD.findall(pattern)
    try:
        # What was received need not be flawless; what of it is used is made safe below.
        with config.disable_value_validation():
            dataset = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=keywords)
            values = {keyword: str(dataset.get(keyword) or "") for keyword in keywords}
    except (InvalidDicomError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise NoName("The file is damaged.") from error
    if not values["SOPInstanceUID"]:
        raise NoName("It has no SOP Instance UID.")
    name = PurePosixPath(_FIELD.sub(lambda found: safe(values[found[1]]), pattern))
    if any(len(part.encode()) > LONGEST_PART_BYTES for part in name.parts):
        raise NoName("A part of its path is too long.")
    return name


def safe(value: str) -> str:
    """One part of a path: no slash, no leading dot, at most 64 characters, never empty."""
    return _HARMFUL.sub("_", value.strip()).lstrip(".")[:LONGEST_VALUE].rstrip(".") or NOTHING

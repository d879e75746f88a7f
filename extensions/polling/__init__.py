"""Polling.

Fetches studies from where they lie: DICOMweb and DICOM sources on a schedule, and a watched folder.
"""

__version__ = "0.1.0"

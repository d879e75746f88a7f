"""De-identification.

The action `anonymize` sends copies without names to a research project: DICOM PS3.15 annex E, with
one set of pseudonyms and a guarded way back per project.
"""

__version__ = "0.1.0"

"""Causes by which an instance is not delivered, and that are no refusal. Imports nothing."""

from __future__ import annotations

STUDY_DELETED = "The study was deleted here."
CANCELLED = "Cancelled by "  # whom; what had failed says after it why

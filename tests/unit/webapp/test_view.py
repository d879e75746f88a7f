"""How the portal writes names, dates and ages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webapp.view import age, dicom_date, person_name, plural, sender


@pytest.mark.parametrize(
    ("dicom", "shown"),
    [
        ("Doe^John", "Doe, John"),
        ("Doe^John^Quincy^Dr^Jr", "Doe, John Quincy"),
        ("Doe", "Doe"),
        ("^John", "John"),
        ("", ""),
        ("^^^^", ""),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎)"),
        ("=山田^太郎", "山田 太郎"),
        ("<script>^x", "<script>, x"),
    ],
)
def test_a_person_name_reads_family_then_given(dicom: str, shown: str) -> None:
    assert person_name(dicom) == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("C-STORE CT1 10.0.0.7", "CT1"),
        ("C-STORE CT ROOM 1 10.0.0.7", "CT ROOM 1"),
        ("C-STORE CT ROOM 1 10.0.0.7 by TLS", "CT ROOM 1"),
        ("STOW-RS OHIF in radiology 10.0.0.7", "OHIF in radiology"),
        ("job", "job"),
        ("", ""),
    ],
)
def test_a_list_names_who_sent_without_protocol_and_address(source: str, shown: str) -> None:
    assert sender(source) == shown


@pytest.mark.parametrize(
    ("dicom", "shown"), [("20260131", "2026-01-31"), ("", ""), ("2026", "2026"), ("junkjunk",) * 2]
)
def test_a_dicom_date_reads_as_iso_and_junk_stays_junk(dicom: str, shown: str) -> None:
    assert dicom_date(dicom) == shown


def test_an_age_is_in_words_for_a_day_and_then_a_date() -> None:
    now = datetime.now(UTC)
    assert age(None) == "never"
    assert age(now) == "just now"
    assert age(now - timedelta(minutes=5)) == "5 min ago"
    assert age(now - timedelta(days=2)) == (now - timedelta(days=2)).strftime("%Y-%m-%d")


def test_counts_agree_with_their_noun() -> None:
    assert plural(1, "study") == "1 study"
    assert plural(2000, "study") == "2,000 studies"
    assert plural(2, "instance") == "2 instances"
    assert plural(2, "series") == "2 series"
    assert plural(7, "day") == "7 days"

"""Free text: what of it can stay. No I/O.

Two strengths. `scrub` takes out what the same object tells of its patient and staff. `clean`
keeps only words of DICOM's own concepts (PS3.16), common abbreviations and small numbers, so that
a name that nobody foresaw is not among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

_TOKEN = re.compile(r"\w+", re.UNICODE)
_UID = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\d.])")
_NUMBER = re.compile(
    r"\d{1,3}|\d{0,2}(?:mm|cm|kv|kvp|ma|mas|ms|s|d|t)|[tb]\d{1,4}|l[1-5]|c[1-7]|s[1-5]"
)
_DATE_LIKE = re.compile(r"\d+(?:[./-]\d+)+")
_ABBREVIATIONS = Path(__file__).parent / "tables" / "abbreviations.txt"


@cache
def vocabulary() -> frozenset[str]:
    """Every word of the coded concepts that DICOM defines or uses, and common abbreviations."""
    schemes: Mapping[str, Any] = import_module("pydicom.sr._concepts_dict").concepts
    words = {
        word
        for scheme in schemes.values()
        for codes in scheme.values()
        for meaning, _ in codes.values()
        for word in re.findall(r"[a-z]+", meaning.lower())
        if len(word) > 1
    }
    return frozenset(words.union(_ABBREVIATIONS.read_text().split()))


class Identifying:
    """What identifies somebody in one object: words of names, and values as a whole."""

    def __init__(self, words: Iterable[str], values: Iterable[str]) -> None:
        self.words = frozenset(word.casefold() for word in words)
        parts = [_bounded(value, r"[^\W_]") for value in sorted(set(values), key=len, reverse=True)]
        parts += [_bounded(word, r"[^\W\d_]") for word in sorted(self.words, key=len, reverse=True)]
        self._pattern = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def scrub(self, text: str, uid: Callable[[str], str]) -> str:
        """`text` without what identifies; UIDs in it become `uid` of them."""
        if self._pattern is not None and (left := self._pattern.sub("", text)) != text:
            text = " ".join(left.split())
        return _UID.sub(lambda found: uid(found[0]), text)

    def scrub_term(self, text: str) -> str:
        """A defined term or the meaning of a standard code: empty if it holds a name.

        Unless the name is of three letters or also a word of DICOM's own, such as HFS and HEAD.
        """
        told = self.words.intersection(_TOKEN.findall(text.casefold().replace("_", " ")))
        names = {word for word in told if len(word) > 3}
        return "" if names and names - vocabulary() else text

    def clean(self, text: str) -> str:
        """Only the words of `text` that are known to name no person."""
        text = self._pattern.sub(" ", text) if self._pattern else text
        tokens = _TOKEN.findall(_DATE_LIKE.sub(" ", text).replace("_", " "))
        return " ".join(token for token in tokens if self._harmless(token.casefold()))

    def _harmless(self, word: str) -> bool:
        known = word in vocabulary() or _NUMBER.fullmatch(word) is not None
        return known and word not in self.words


def _bounded(text: str, letter: str) -> str:
    # Where letters are not divided by spaces a word has no borders.
    found = re.escape(text)
    return rf"(?<!{letter}){found}(?!{letter})" if text.isascii() else found

"""Patterns that take a value apart: ``*`` any text, ``?`` one character. No I/O.

Each wildcard catches what it stands for, by number: `{1}`, `{2}`... in the replacement. A backslash
takes the meaning from the next character. The time is linear in the value's length times the
pattern's: what stands between two ``*`` is found where it is first, and never looked for again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

type Part = list[str | None]
"""Characters between two ``*``; None: any one character."""

_REFERENCE = re.compile(r"\{(\d{1,3})\}")


class Glob:
    """A parsed pattern; raises ValueError for one that ends with a lone backslash."""

    def __init__(self, pattern: str) -> None:
        self._parts: list[Part] = [[]]
        characters = iter(pattern)
        for character in characters:
            if character == "*":
                self._parts.append([])
            elif character == "?":
                self._parts[-1].append(None)
            elif character == "\\":
                escaped = next(characters, "")
                if not escaped:
                    raise ValueError("ends with a backslash; write two for one")
                self._parts[-1].append(escaped)
            else:
                self._parts[-1].append(character)

    @property
    def wildcards(self) -> int:
        """How many texts it catches."""
        return len(self._parts) - 1 + sum(part.count(None) for part in self._parts)

    def match(self, text: str) -> list[str] | None:
        """What each wildcard caught, if the whole text fits."""
        first, *rest = self._parts
        if not _fits(first, text, 0):
            return None
        if not rest:
            return _caught(first, text, 0) if len(text) == len(first) else None
        caught, place = _caught(first, text, 0), len(first)
        for part in rest[:-1]:
            found = next((at for at in range(place, len(text) + 1) if _fits(part, text, at)), None)
            if found is None:
                return None
            caught += [text[place:found], *_caught(part, text, found)]
            place = found + len(part)
        end = len(text) - len(rest[-1])
        if end < place or not _fits(rest[-1], text, end):
            return None
        return [*caught, text[place:end], *_caught(rest[-1], text, end)]


def expand(template: str, caught: Sequence[str]) -> str:
    """The template with each ``{number}`` replaced by what that wildcard caught."""
    return _REFERENCE.sub(lambda match: caught[int(match[1]) - 1], template)


def references(template: str) -> set[int]:
    """The numbers of the wildcards that a template uses."""
    return {int(number) for number in _REFERENCE.findall(template)}


def _fits(part: Part, text: str, place: int) -> bool:
    if place + len(part) > len(text):
        return False
    return all(c is None or text[place + n] == c for n, c in enumerate(part))


def _caught(part: Part, text: str, place: int) -> list[str]:
    return [text[place + n] for n, c in enumerate(part) if c is None]

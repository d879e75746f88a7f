"""At which line of a YAML text a place such as ``rules[2].when.all[0].field`` is. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from extensions.routing.rules.complaints import Complaint

_PART = re.compile(r"\[(\d+)\]|([^.\[]+)")
_LINE = re.compile(r"line (\d+), column \d+\Z")


@dataclass(frozen=True)
class Marked:
    """What is wrong, and the line (from 1) where it stands; 0: of the whole text."""

    line: int
    place: str
    told: str


def marked(text: str, complaints: Iterable[Complaint]) -> list[Marked]:
    """Each complaint with its line: that of the nearest thing around it which is there."""
    root: yaml.Node | None = None
    found = list(complaints)
    if any(not _LINE.match(complaint.place) for complaint in found):
        root = _composed(text)
    return [Marked(_line(root, one.place), one.place, one.told) for one in found]


def _composed(text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
    return node


def _line(node: yaml.Node | None, place: str) -> int:
    if told := _LINE.match(place):
        return int(told[1])
    if node is None or not place:
        return 0
    line = 0
    for index, name in _PART.findall(place):
        below = _below(node, int(index) if index else name)
        if below is None:
            break
        line, node = below
    return line


def _below(node: yaml.Node, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line + 1, child
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    return None

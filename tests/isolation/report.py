"""The page that tells a person what was called, what came of it, and what was left out; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from gateway.access import KINDS, POLICY
from tests.isolation.expectations import Expected
from tests.isolation.matrix import CALLERS, Run

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
       color: #1c2530; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #d6dde5; }
td.n, th.n { text-align: right; } th { background: #f1f4f7; }
.verdict { padding: 1rem 1.2rem; border-left: 6px solid; margin: 1.5rem 0; font-size: 1.1rem; }
.good { border-color: #1d7a46; background: #eaf6ef; }
.bad { border-color: #b3261e; background: #fdecea; }
.bad-text { color: #b3261e; font-weight: 600; } details { margin: 1rem 0; }
@media (prefers-color-scheme: dark) { body { color: #e3e8ee; background: #14191f; }
  th { background: #1f262e; } th, td { border-color: #36404b; }
  .good { background: #14301f; } .bad { background: #3a1613; } .bad-text { color: #ff8a80; } }
"""
_INTRODUCTION = (
    "<p>Two tenants share one gateway. Every route that Orthanc, its DICOMweb plugin, the portal "
    "and the extensions list was called with every method, as each kind of caller of the one "
    "tenant, about its own study, about two of the other tenant (one of a patient whose PatientID "
    "both use) and about one that does not exist. What must happen is derived from the policy. "
    "An answer must besides hold no identifier or name of the other tenant, and be the same as for "
    "what does not exist.</p>"
)
_MEANING = {
    Expected.ALLOWED: "the policy permits it, and it was not refused",
    Expected.SIGN_IN: "401: who is asking is unknown",
    Expected.REFUSED: "403: the role may not, or nobody may",
    Expected.ABSENT: "the same answer as for what does not exist: status, headers and body",
    Expected.NOTHING_THERE: "no such method; the same answer whatever is named",
}


def page(run: Run, tests: Sequence[tuple[str, str]]) -> str:
    """The whole page, without anything from elsewhere."""
    failed = [name for name, outcome in tests if outcome == "failed"]
    sound = not run.mismatches and not failed
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>Isolation of tenants</title>",
        f"<style>{_STYLE}</style><h1>Isolation of tenants</h1>",
        _verdict(run, len(tests), len(failed), sound=sound),
        _INTRODUCTION,
        _mismatches(run, failed),
        _counts(run),
        _by_caller(run),
        _by_group(run),
        _left_out(run),
        _policy(),
        _tests(tests),
    ]
    return "\n".join(parts) + "\n"


def _verdict(run: Run, tests: int, failed: int, *, sound: bool) -> str:
    words = "Nothing of one tenant reaches another." if sound else "Isolation does not hold."
    return (
        f"<div class='verdict {'good' if sound else 'bad'}'><b>{words}</b><br>"
        f"{len(run.answers):,} combinations called in {run.seconds:,.0f} s, "
        f"{len(run.mismatches):,} mismatches; {len(run.left_out):,} left out (see below); "
        f"{tests:,} tests (attacks, planted leaks), {failed:,} failed.</div>"
    )


def _mismatches(run: Run, failed: Sequence[str]) -> str:
    if not run.mismatches and not failed:
        return ""
    rows = [(m.case, m.what) for m in run.mismatches] + [(name, "test failed") for name in failed]
    return "<h2 class=bad-text>Mismatches</h2>" + _table(("What was called", "What came"), rows)


def _counts(run: Run) -> str:
    count = Counter((a.case.expected, a.status) for a in run.answers)
    rows = []
    for expected in Expected:
        statuses = sorted((s, n) for (e, s), n in count.items() if e is expected)
        told = ", ".join(f"{status}: {number:,}" for status, number in statuses)
        total = sum(number for _, number in statuses)
        rows.append((expected.value, _MEANING[expected], f"{total:,}", told))
    return "<h2>What each combination gave</h2>" + _table(
        ("Expected", "Meaning", "Called", "HTTP status: how many"), rows
    )


def _by_caller(run: Run) -> str:
    count = Counter((a.case.caller.name, a.case.expected) for a in run.answers)
    rows = [
        (caller, *(f"{count[caller, expected]:,}" for expected in Expected)) for caller in CALLERS
    ]
    return "<h2>By caller</h2>" + _table(("Caller", *(e.value for e in Expected)), rows)


def _by_group(run: Run) -> str:
    count = Counter((a.case.route.group, a.case.expected) for a in run.answers)
    paths: dict[str, set[str]] = {}
    for answer in run.answers:
        paths.setdefault(answer.case.route.group, set()).add(answer.case.route.path)
    rows = [
        (group, f"{len(found):,}", *(f"{count[group, expected]:,}" for expected in Expected))
        for group, found in sorted(paths.items())
    ]
    return "<h2>By part of the gateway</h2>" + _table(
        ("Part", "Routes", *(e.value for e in Expected)), rows
    )


def _left_out(run: Run) -> str:
    rows = Counter((f"{c.method} {c.route.path}", c.caller.name) for c in run.left_out)
    listed = _table(
        ("Request", "Caller", "Resources"),
        [(what, who, str(number)) for (what, who), number in sorted(rows.items())],
    )
    return (
        "<h2>What was left out</h2><p>Writes that the policy permits to this caller: they would do "
        "what they say, and the rest of the run would meet another world. Their own tests make "
        "them.</p>"
        f"<details><summary>{len(run.left_out):,} combinations</summary>{listed}</details>"
    )


def _policy() -> str:
    rows = [
        (action.value, KINDS[action].value, ", ".join(sorted(roles)) or "nobody")
        for action, roles in POLICY.items()
    ]
    return "<h2>The policy</h2>" + _table(("Action", "Done to", "Roles"), rows)


def _tests(tests: Sequence[tuple[str, str]]) -> str:
    rows = [(name, outcome) for name, outcome in tests]
    return (
        f"<h2>Attacks and planted leaks</h2><details><summary>{len(rows):,} tests</summary>"
        f"{_table(('Test', 'Outcome'), rows)}</details>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cell(tag: str, text: str) -> str:
        is_number = text.replace(",", "").isdigit()
        return f"<{tag}{' class=n' if is_number else ''}>{escape(text)}</{tag}>"

    rows = list(rows)
    sample = rows[0] if rows else heads
    is_number = [text.replace(",", "").isdigit() for text in sample]
    head = "".join(
        f"<th{' class=n' if number else ''}>{escape(text)}</th>"
        for text, number in zip(heads, is_number, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell('td', text) for text in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"

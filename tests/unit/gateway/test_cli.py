"""The command `argonath` as an operator mistypes it, and without a gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import commands
from gateway.cli import main


@pytest.fixture(autouse=True)
def no_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory in which nothing runs."""
    monkeypatch.setenv("ARGONATH_DATA", str(tmp_path))
    for name in ("DATABASE_URL", "DATABASE_ADMIN_URL"):
        monkeypatch.setenv(f"ARGONATH_{name}", f"postgresql://argonath@/argonath?host={tmp_path}")


@pytest.mark.parametrize(
    "words",
    ["status", "tenant list", "migrate", "logs", "audit verify", "api-key create --tenant north"],
)
def test_without_a_gateway_a_command_says_at_once_how_to_start_it(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[object] = []  # of connections, which would try for 5 s
    monkeypatch.setattr(commands, "Database", lambda *of, **_: pools.append(of))
    assert main(words.split()) != 0
    assert not pools
    said = capsys.readouterr()
    assert "not running" in said.err
    assert "make run" in said.err
    assert said.out == ""


def test_a_program_reads_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"status": "not running", "parts": {}}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "COMMAND"),
        ("nonsense", "invalid choice: 'nonsense'"),
        ("tenant", "{create,list,tls}"),
        ("tenant create", "tenant"),
        ("status --xml", "--xml"),
        ("logs --lines -1", "whole number"),
        ("api-key create --tenant north --role king", "choose from viewer"),
        ("user create a@b.example --role system-admin", "invalid choice"),
    ],
)
def test_a_wrong_command_line_ends_with_status_2_and_the_reason(
    words: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_system_admins_key_belongs_to_no_tenant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api-key", "create", "--role", "system-admin", "--tenant", "north"]) == 1
    assert "without a tenant" in capsys.readouterr().err

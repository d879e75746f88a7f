"""Rules kept in git: the commands of config/README.md, as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import CHECKOUT, RunningGateway

MANUAL = (CHECKOUT / "config/README.md").read_text(encoding="utf-8")
EXPORT, COMPARE, IMPORT = re.findall(r"```sh\n(.*?)```", MANUAL, re.DOTALL)
RULES = "rules:\n- name: By git\n  actions:\n  - label: {add: [git]}\n"


class Repository:
    """A hospital's own, with a key of an admin of its tenant."""

    def __init__(self, folder: Path, url: str, key: str) -> None:
        self._folder = folder
        self._environment = os.environ | {"URL": url, "KEY": key, "TENANT": "south"}
        self.rules = folder / "config/rules/south.yaml"
        self.rules.parent.mkdir(parents=True)

    def do(self, command: str) -> tuple[int, Any]:
        """curl's exit status, and the answer."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout or "null")


def test_a_hospital_keeps_its_rules_in_git(gateway: RunningGateway, tmp_path: Path) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "south", "--role", "admin")
    git = Repository(tmp_path, gateway.url, key)
    assert git.do(EXPORT) == (0, None)
    before = git.rules.read_text()

    git.rules.write_text("rules:\n- name: By git\n")
    status, refused = git.do(COMPARE)
    assert status == 22  # HTTP 400 or more
    assert refused["complaints"][0]["place"] == "rules[0].actions"

    git.rules.write_text(RULES)
    status, told = git.do(COMPARE)
    assert status == 0
    assert ("added", "By git") in [(each["kind"], each["name"]) for each in told["changes"]]
    assert gateway.get("/routing/rules.yaml", key).text == before

    status, done = git.do(IMPORT)
    assert status == 0, done
    assert done == {"version": told["version"] + 1, "changes": told["changes"]}
    status, late = git.do(IMPORT)
    assert status == 22
    assert "Read the rules again" in late["cure"]

    assert git.do(EXPORT) == (0, None)
    assert "By git" in git.rules.read_text()
    git.rules.write_text(before)  # as it was, for the tests after it
    assert git.do(IMPORT)[0] == 0

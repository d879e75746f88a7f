"""Settings: file, then environment, then a file that holds a secret; all errors at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gateway.errors import InvalidSettings
from gateway.settings import Settings


def test_every_setting_has_a_default_and_a_help_text() -> None:
    for field in dataclasses.fields(Settings):
        assert field.default is not dataclasses.MISSING, field.name
        assert field.metadata["help"].endswith("."), field.name


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "argonath.toml"
    file.write_text("http_port = 1000\ndicom_port = 2000\n")
    settings = Settings.load({"ARGONATH_CONFIG": str(file), "ARGONATH_HTTP_PORT": "3000"})
    assert (settings.http_port, settings.dicom_port) == (3000, 2000)


def test_a_secret_comes_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    assert Settings.load({"ARGONATH_SECRET_KEY_FILE": str(secret)}).secret_key == "hush"


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("1", True), ("false", False)])
def test_a_switch_takes_words(word: str, value: bool) -> None:
    assert Settings.load({"ARGONATH_SECURE_COOKIES": word}).secure_cookies is value


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "argonath.toml"
    file.write_text("no_such_setting = 1\n")
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(
            {
                "ARGONATH_CONFIG": str(file),
                "ARGONATH_HTTP_PORT": "many",
                "ARGONATH_SECURE_COOKIES": "perhaps",
                "ARGONATH_SECRET_KEY_FILE": "/nonexistent",
            }
        )
    told = str(caught.value)
    for name in ("no_such_setting", "HTTP_PORT", "SECURE_COOKIES", "SECRET_KEY_FILE"):
        assert name in told

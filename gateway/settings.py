"""The settings: one table of name, type, default and help.

A value comes from the file named by ``ARGONATH_CONFIG`` (TOML), then from ``ARGONATH_<NAME>``,
then from the file named by ``ARGONATH_<NAME>_FILE`` (for secrets). All errors are told at once.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.errors import InvalidSettings

PREFIX = "ARGONATH_"


def _setting(default: Any, help: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "secret": secret})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every setting of the gateway, read once when a process starts."""

    data: Path = _setting(Path("/data"), "Directory that holds everything which must survive.")
    http_port: int = _setting(8080, "TCP port of the portal, DICOMweb and health check.")
    dicom_port: int = _setting(4242, "TCP port on which modalities reach the gateway.")
    public_url: str = _setting("", "Address under which people reach the portal; empty: this host.")
    orthanc_url: str = _setting("http://127.0.0.1:8042", "Orthanc's own HTTP address.")
    database_url: str = _setting(
        "postgresql://argonath_app@/argonath?host=/data/run/postgresql",
        "PostgreSQL as the application's role, which owns nothing.",
        secret=True,
    )
    database_admin_url: str = _setting(
        "postgresql://argonath@/postgres?host=/data/run/postgresql",
        "PostgreSQL as the owner of the schema; used by `argonath migrate` alone.",
        secret=True,
    )
    redis_url: str = _setting("unix:///data/run/redis.sock", "Redis, which executes jobs.")
    internal_token: str = _setting("", "Token of our own processes for Orthanc.", secret=True)
    secret_key: str = _setting("", "Key that signs the portal's forms.", secret=True)
    stable_after_s: float = _setting(
        10.0, "A study is stable when nothing was received for so many seconds."
    )
    claim_expires_s: float = _setting(
        600.0, "A study that was announced but never stored frees its UID after so many seconds."
    )
    max_sequence_items: int = _setting(
        20_000, "An object with more sequence items than this is refused: Orthanc cannot parse it."
    )
    retry_delay_s: float = _setting(
        5.0, "First pause before a failed job is tried again; it doubles each time, up to 10 min."
    )
    session_hours: int = _setting(12, "A portal sign-in ends after so many hours.")
    blocked_extensions: str = _setting("", "Names of extensions that must not load, by commas.")
    secure_cookies: bool = _setting(False, "Send cookies over HTTPS only; set it behind TLS.")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read every source; raise `InvalidSettings` with all that is wrong."""
        environ = os.environ if environ is None else environ
        errors: list[str] = []
        given = _from_file(environ.get(PREFIX + "CONFIG"), errors)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            raw = _raw(field.name, environ, given, errors)
            if raw is None:
                continue
            try:
                values[field.name] = _parse(raw, type(field.default))
            except ValueError as error:
                errors.append(f"{PREFIX}{field.name.upper()}: {error}")
        known = {field.name for field in dataclasses.fields(cls)}
        errors += [f"{name}: there is no such setting" for name in given if name not in known]
        if errors:
            raise InvalidSettings("; ".join(errors))
        return cls(**values)


def _from_file(path: str | None, errors: list[str]) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        errors.append(f"{PREFIX}CONFIG: {path}: {error}")
        return {}


def _raw(name: str, environ: Mapping[str, str], given: Mapping[str, Any], errors: list[str]) -> Any:
    variable = PREFIX + name.upper()
    if file := environ.get(variable + "_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            errors.append(f"{variable}_FILE: {error}")
    return environ.get(variable, given.get(name))


def _parse(raw: Any, kind: type[Any]) -> Any:
    if kind is bool and not isinstance(raw, bool):
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if str(raw).lower() not in words:
            raise ValueError(f"{raw!r} is neither true nor false")
        return words[str(raw).lower()]
    if isinstance(kind(), Path):
        return Path(str(raw))
    return kind(raw)

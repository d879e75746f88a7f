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
    default_encoding: str = _setting(
        "Utf8", "Character set of C-FIND answers, and of files that declare none: Utf8 or Latin1."
    )
    dicom_plain: bool = _setting(True, "Accept C-STORE, C-FIND and C-MOVE without TLS too.")
    dicom_tls_port: int = _setting(0, "TCP port of DICOM over TLS, often 2762; 0: none.")
    dicom_tls_ca: str = _setting("", "PEM file of the authorities that sign client certificates.")
    dicom_tls_cert: str = _setting("", "PEM file of the DICOM port's certificate and its chain.")
    dicom_tls_key: str = _setting("", "PEM file of its private key.")
    tls_cert: str = _setting("", "PEM file of the certificate of the HTTP port and its chain.")
    tls_key: str = _setting("", "PEM file of its private key.")
    tls: str = _setting("", "`generated`: a certificate of the gateway's own making.")
    rate_limit: int = _setting(1000, "HTTP requests a second of one key or session; 0: any.")
    rate_burst: int = _setting(2000, "So many more are answered at once.")
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
    encryption_key: str = _setting(
        "", "Key that seals the destinations' passwords and tokens in the database.", secret=True
    )
    stable_after_s: float = _setting(
        10.0, "A study is stable when nothing was received for so many seconds."
    )
    claim_expires_s: float = _setting(
        600.0, "A study that was announced but never stored frees its UID after so many seconds."
    )
    retry_delay_s: float = _setting(
        5.0, "First pause before a failed job is tried again; it doubles each time, up to 10 min."
    )
    keep_jobs_days: int = _setting(30, "A job that has ended is forgotten after so many days.")
    keep_events_days: int = _setting(
        7, "An event that was handed to every listener is forgotten after so many days."
    )
    session_hours: int = _setting(12, "A portal sign-in ends after so many hours.")
    oidc_issuer: str = _setting("", "OpenID provider where people may sign in; empty: none.")
    oidc_title: str = _setting("OpenID", "What the button says: Sign in with ...")
    oidc_client_id: str = _setting("", "The portal's client id at the provider.")
    oidc_client_secret: str = _setting(
        "", "The portal's secret at the provider; empty: a public client, PKCE alone.", secret=True
    )
    oidc_scope: str = _setting("openid email profile", "Scopes that the portal asks for.")
    oidc_claim: str = _setting(
        "groups", "Claim that lists where somebody belongs; dots lead into objects."
    )
    oidc_prefix: str = _setting(
        "argonath:", "What the claim's values for us begin with; then TENANT:ROLE."
    )
    oidc_audience: str = _setting(
        "", "Audience of the provider's access tokens for DICOMweb; empty: none is accepted."
    )
    smtp_url: str = _setting(
        "", "Where e-mail goes: smtp://USER:PASSWORD@HOST:PORT or smtps://...", secret=True
    )
    mail_from: str = _setting("", "The sender of e-mail.")
    export_root: str = _setting(
        "",
        "Folder below which destinations may write files; empty: `export` in the data directory.",
    )
    blocked_extensions: str = _setting("", "Names of extensions that must not load, by commas.")
    secure_cookies: bool = _setting(False, "Send cookies over HTTPS only; set it behind TLS.")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    @property
    def url(self) -> str:
        """Where the portal is."""
        scheme = "https" if self.tls_cert else "http"
        return self.public_url or f"{scheme}://localhost:{self.http_port}"

    @property
    def archive_folder(self) -> Path:
        """Where Orthanc keeps its files, if it has the same disk."""
        return self.data / "orthanc"

    def export_folder(self, tenant_id: str) -> Path:
        """Where files of one tenant's destinations go."""
        return Path(self.export_root or self.data / "export") / tenant_id

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

"""What must be known of a destination, by kind. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from extensions.routing.sending import name_pattern
from gateway.addresses import (
    AETitle,
    Host,
    HttpUrl,
    one_way_to_authenticate,
    stripped,
    validated,
)
from gateway.errors import InvalidInput

type Kind = Literal["dimse", "dicomweb", "folder", "s3"]

SECRET_FIELDS = ("token", "password", "secret_key")


def _folder(value: str) -> str:
    if not _FOLDER.fullmatch(value):
        raise ValueError("must be a name like research/ct: letters, digits, . _ - and / between")
    return value


_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")

type Folder = Annotated[str, BeforeValidator(stripped), AfterValidator(_folder)]
type Pattern = Annotated[str, BeforeValidator(stripped), AfterValidator(name_pattern.checked)]


class DimseSettings(BaseModel):
    """A C-STORE SCP (PS3.4 annex B)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dimse"] = "dimse"
    host: Host = Field(max_length=255, description="Host name or IP address.")
    port: int = Field(default=104, ge=1, le=65535, description="TCP port.")
    called_aet: AETitle = Field(description="The destination's AE title.")
    calling_aet: AETitle = Field(default="ARGONATH", description="Our AE title towards it.")
    verify: Literal["none", "query", "commitment"] = Field(
        default="none",
        description="`query`: C-FIND for what was delivered; `commitment`: storage commitment.",
    )

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"{self.called_aet}@{self.host}:{self.port}"


class DicomwebSettings(BaseModel):
    """A STOW-RS origin server (PS3.18 section 10.5), with a token, a password or neither."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dicomweb"] = "dicomweb"
    url: HttpUrl = Field(max_length=1024, description="Its DICOMweb root, without /studies.")
    token: str = Field(default="", description="Bearer token.", repr=False)
    username: str = Field(default="", description="User of HTTP Basic authentication.")
    password: str = Field(default="", description="Password of that user.", repr=False)
    verify: Literal["none", "query"] = Field(
        default="none", description="`query`: QIDO-RS for what was delivered."
    )

    _authenticates = model_validator(mode="after")(one_way_to_authenticate)

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.url


class FolderSettings(BaseModel):
    """A folder of this machine, below what the installation permits for the tenant."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["folder"] = "folder"
    folder: Folder = Field(max_length=128, description="Its path below the tenant's folder.")
    pattern: Pattern = Field(
        default=name_pattern.STANDARD, max_length=512, description="The files' names."
    )

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.folder


class S3Settings(BaseModel):
    """A bucket of Amazon S3 or of what speaks its protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["s3"] = "s3"
    url: HttpUrl = Field(max_length=1024, description="Its endpoint, without the bucket.")
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="Region.")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="Bucket.")
    pattern: Pattern = Field(
        default=name_pattern.STANDARD, max_length=512, description="The objects' keys."
    )
    access_key: str = Field(min_length=1, max_length=128, description="Access key ID.")
    secret_key: str = Field(min_length=1, description="Secret access key.", repr=False)

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"{self.url}/{self.bucket}"


type DestinationSettings = DimseSettings | DicomwebSettings | FolderSettings | S3Settings

MODELS: Mapping[str, type[DestinationSettings]] = {
    "dimse": DimseSettings,
    "dicomweb": DicomwebSettings,
    "folder": FolderSettings,
    "s3": S3Settings,
}


def parse_settings(kind: str, given: Mapping[str, Any]) -> DestinationSettings:
    """Settings from a form or a row; raises `InvalidInput` that names each wrong field."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind!r} is unknown; use one of {', '.join(MODELS)}.")
    return validated(model, given)


def dump_settings(settings: DestinationSettings) -> dict[str, Any]:
    """The row's shape of settings, secrets included."""
    return settings.model_dump(exclude={"kind"})


def with_secrets(
    settings: DestinationSettings, change: Callable[[str], str]
) -> DestinationSettings:
    """The settings with each secret that is set changed, e.g. sealed or opened."""
    given = {name: getattr(settings, name, "") for name in SECRET_FIELDS}
    return settings.model_copy(update={name: change(s) for name, s in given.items() if s})

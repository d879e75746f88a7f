"""What must be known of a source, by kind. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from extensions.polling import filters
from extensions.polling.schedule import Window
from gateway.addresses import AETitle, Host, HttpUrl, one_way_to_authenticate, validated
from gateway.errors import InvalidInput

type Kind = Literal["dicomweb", "dimse", "folder"]

SECRET_FIELDS = ("token", "password")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError):
        raise ValueError("must be like Europe/Berlin") from None
    return value


def _window(value: str) -> str:
    Window.parse(value, ZoneInfo("UTC"))
    return value.strip()


def _filter(value: str) -> str:
    filters.parse(value)
    return value.strip()


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Polled(_Settings):
    """When a source is asked, for what, and how hard."""

    interval_s: int = Field(
        300, ge=5, le=604800, description="Seconds from the end of a run to the next."
    )
    window: Annotated[str, AfterValidator(_window)] = Field(
        "", description="Hours of the day, such as 22:00-06:00; empty: all day."
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Of the window and of study dates, such as Europe/Berlin."
    )
    look_back_days: int = Field(
        7, ge=0, le=36500, description="Studies of so many days before today; 0: of any date."
    )
    filter: Annotated[str, AfterValidator(_filter)] = Field(
        "", max_length=2000, description="As in QIDO-RS: ModalitiesInStudy=CT&StationName=ER*"
    )
    studies_per_minute: int = Field(
        30, ge=0, le=6000, description="At most so many studies are retrieved a minute; 0: any."
    )
    timeout_s: int = Field(30, ge=1, le=300, description="Seconds without a sign until it failed.")

    @property
    def hours(self) -> Window | None:
        """The window, with its zone; None: all day."""
        return Window.parse(self.window, self.zone)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)


class DicomwebSource(Polled):
    """A QIDO-RS and WADO-RS origin server (PS3.18), with a token, a password or neither."""

    kind: Literal["dicomweb"] = "dicomweb"
    url: HttpUrl = Field(max_length=1024, description="Its DICOMweb root, without /studies.")
    token: str = Field("", description="Instead of a user.", repr=False)
    username: str = Field("", description="For HTTP Basic authentication.")
    password: str = Field("", description="Of that user.", repr=False)

    _authenticates = model_validator(mode="after")(one_way_to_authenticate)

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.url


class DimseSource(Polled):
    """A Query/Retrieve SCP (PS3.4 annex C), Study Root, that delivers to us by C-MOVE."""

    kind: Literal["dimse"] = "dimse"
    host: Host = Field(max_length=255, description="Host name or IP address.")
    port: int = Field(104, ge=1, le=65535, description="TCP port.")
    called_aet: AETitle = Field(description="The source's AE title.")
    calling_aet: AETitle = Field("ARGONATH", description="Our AE title towards it.")
    deliver_to: AETitle = Field(
        description="An AE title of the tenant here, to which the source sends by C-STORE."
    )

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"{self.called_aet}@{self.host}:{self.port}"


class FolderSource(_Settings):
    """The tenant's folder `inbox/TENANT` of the data directory."""

    kind: Literal["folder"] = "folder"
    keep_days: int = Field(
        7, ge=0, le=3650, description="Days that stored files stay in done/; 0: removed at once."
    )

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return "inbox/"


type SourceSettings = DicomwebSource | DimseSource | FolderSource

MODELS: dict[str, type[DicomwebSource | DimseSource | FolderSource]] = {
    "dicomweb": DicomwebSource,
    "dimse": DimseSource,
    "folder": FolderSource,
}


def parse_settings(kind: str, given: Mapping[str, Any]) -> SourceSettings:
    """Settings from a form or a row; raises `InvalidInput` that names each wrong field."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind!r} is unknown; use {', '.join(MODELS)}.")
    return validated(model, given)


def dump_settings(settings: SourceSettings) -> dict[str, Any]:
    """The row's shape of settings, secrets included."""
    return settings.model_dump(exclude={"kind"})


def with_secrets(settings: SourceSettings, change: Callable[[str], str]) -> SourceSettings:
    """The settings with each secret that is set changed, e.g. sealed or opened."""
    given = {name: getattr(settings, name, "") for name in SECRET_FIELDS}
    return settings.model_copy(update={name: change(s) for name, s in given.items() if s})

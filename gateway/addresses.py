"""Where other systems are, as fields of a settings model: AE titles, hosts, URLs. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from gateway import tenancy
from gateway.errors import GatewayError, InvalidInput


def _ae_title(value: str) -> str:
    try:
        return tenancy.ae_title(value)
    except GatewayError as error:
        raise ValueError(error.detail.removesuffix(".")) from None


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be like https://pacs.example/dicom-web")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("must hold neither credentials nor '?' nor '#'")
    return value.rstrip("/")


def _host(value: str) -> str:
    if not value or any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("must be a host name or address without spaces")
    return value


def stripped(value: Any) -> Any:
    """Text without spaces at its ends."""
    return value.strip() if isinstance(value, str) else value


type AETitle = Annotated[str, BeforeValidator(stripped), AfterValidator(_ae_title)]
type HttpUrl = Annotated[str, BeforeValidator(stripped), AfterValidator(_http_url)]
type Host = Annotated[str, BeforeValidator(stripped), AfterValidator(_host)]


def one_way_to_authenticate(settings: Any) -> Any:
    """A validator of models with `token`, `username` and `password`: one way whole, or none."""
    if settings.token and (settings.username or settings.password):
        raise ValueError("token: give either a token or a username and password, not both")
    if bool(settings.username) != bool(settings.password):
        raise ValueError("password: a username and its password belong together")
    return settings


def validated[M: BaseModel](model: type[M], given: Mapping[str, Any]) -> M:
    """A model from a form or a row; raises `InvalidInput` that names each wrong field."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise InvalidInput("; ".join(complaints(error)) + ".") from None


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with each field, without what was typed: it may be a password or a patient."""
    return [_complaint(dict(e)) for e in error.errors(include_input=False, include_url=False)]


def _complaint(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return ": ".join([*(str(place) for place in error["loc"]), message])

"""The live rules as a YAML file: a download for people, and for scripts GET and PUT with a key."""

from __future__ import annotations

from dataclasses import asdict

from flask import request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from extensions.routing import rulebook
from extensions.routing.portal.common import pages, portal, tenant_session
from extensions.routing.portal.saving import save
from extensions.routing.rulebook import Rulebook
from extensions.routing.rules import rules_diff
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rules_lines import marked
from extensions.routing.rules.rules_yaml import dump_rules, load_rules
from gateway import routes
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.needs import Needs


class VersionNeeded(GatewayError):
    """The version that is to be replaced is not named.

    Send the ETag of the rules that you have read as If-Match, or If-Match: * for whatever is live.
    """

    http_status = 428


class AnotherVersion(GatewayError):
    """Another version of the rules is live than If-Match names.

    Read the rules again, and make your change in them.
    """

    http_status = 412


class KeyNeeded(GatewayError):
    """Programs change the rules with an API key, not with a browser's session.

    Send it as Authorization: Bearer, or use the portal's editor.
    """

    http_status = 403


@pages.get("/rules.yaml")
@Needs(Action.READ_ROUTING)
def download_rules() -> ResponseReturnValue:
    """The live rules; the ETag is their version."""
    with tenant_session() as session:
        book = rulebook.live(session)
    name = f"rules-{portal().tenant()}-v{book.version}.yaml"
    headers = {
        "Content-Type": "application/yaml; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": f'"{book.version}"',
        "Cache-Control": "no-store",
    }
    return dump_rules(book.rules), 200, headers


@pages.put("/rules.yaml")
@Needs(Action.CHANGE_ROUTING)
def upload_rules() -> ResponseReturnValue:
    """Replace the live rules; with ``?dry_run=yes`` only tell what would change."""
    if not routes.token_of(request.headers.get("Authorization", ""), ""):
        raise KeyNeeded  # so that no other site can send it with somebody's cookie
    try:
        text = request.get_data().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8.") from None
    try:
        rules = load_rules(text, portal().actions)
        with tenant_session() as session:
            book = rulebook.live(session)
            based_on = _based_on(book)
            changes = rules_diff.diff(book.rules, rules)
            if changes and request.args.get("dry_run") != "yes":
                note = request.args.get("note", "")[:200] or "Replaced by a program"
                book = save(session, rules, based_on=based_on, note=note)
    except WrongRule as error:
        portal().record_failure("change-rules", "rules", error.code)
        complaints = [asdict(one) for one in marked(text, error.complaints)]
        return error.as_json() | {"complaints": complaints}, error.http_status
    except Conflict:
        raise AnotherVersion from None
    told = {"version": book.version, "changes": [asdict(change) for change in changes]}
    return told, 200, {"ETag": f'"{book.version}"'}


def _based_on(book: Rulebook) -> int:
    wanted = request.headers.get("If-Match", "").strip()
    if not wanted:
        raise VersionNeeded
    if wanted not in {"*", f'"{book.version}"', str(book.version)}:
        raise AnotherVersion(f"It is version {book.version}.")
    return book.version


@pages.record_once
def _without_form_token(state: BlueprintSetupState) -> None:
    """A program has no form; `upload_rules` takes no cookie instead."""
    state.app.extensions["csrf"].exempt(upload_rules)

"""The command `argonath`: administration of a running gateway from its checkout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gateway import commands, correlation
from gateway.audit import Seal
from gateway.audit.export import FORMATS
from gateway.errors import GatewayError
from gateway.identity import Role
from gateway.settings import Settings

_TENANT_ROLES = [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, else a sentence on standard error.

    The status is then 1, 2 for a wrong command line, 75 (EX_TEMPFAIL) when trying again can help.
    """
    options = parser().parse_args(arguments)
    try:
        with correlation.operation():
            return int(options.run(Settings.load(), options) or 0)
    except GatewayError as error:
        print(f"argonath: {error}", file=sys.stderr)
        return 1 if error.permanent else os.EX_TEMPFAIL
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `argonath logs | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="argonath", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="COMMAND")

    status = _verb(verbs, "status", commands.status, "say which parts are ready")
    status.add_argument("--json", action="store_true", help="as JSON")
    _verb(verbs, "migrate", commands.migrate_database, "bring the database to the present schema")
    _verb(verbs, "welcome", commands.welcome, "say where to go and how to sign in")
    _verb(verbs, "demo", commands.load_demo, "make the demonstration tenants, people and studies")
    logs = _verb(verbs, "logs", commands.logs, "print the gateway's log")
    logs.add_argument("--lines", type=_count, default=100, help="of each part")

    tenant = verbs.add_parser("tenant", help="tenants").add_subparsers(required=True)
    create = _verb(tenant, "create", commands.tenant_create, "add a tenant")
    create.add_argument("tenant", help="its name: lower-case letters, digits and -")
    create.add_argument("--title", default="")
    create.add_argument("--ae-title", action="append", default=[], help="may be repeated")
    _verb(tenant, "list", commands.tenant_list, "list the tenants and their AE titles")

    tls = _verb(tenant, "tls", commands.tenant_tls, "by DICOM over TLS alone, or without it too")
    tls.add_argument("tenant")
    tls.add_argument("tls", choices=["only", "optional"])

    certificate = verbs.add_parser("certificate", help="DICOM over TLS: who may call as whom")
    verb = certificate.add_subparsers(required=True)
    for name, what in (("add", "let it call"), ("remove", "refuse it")):
        change = _verb(verb, name, commands.certificate_change, what)
        change.set_defaults(verb=name)
        change.add_argument("tenant")
        change.add_argument("ae_title", help="the calling AE title")
        change.add_argument(
            "certificate", help="SHA-256 fingerprint, subject (CN=...), or - to read PEM"
        )
    _verb(verb, "list", commands.certificate_list, "list them")

    key = verbs.add_parser("api-key", help="API keys").add_subparsers(required=True)
    create = _verb(key, "create", commands.key_create, "make a key and print it, alone")
    create.add_argument("--tenant", help="whose key; left out only with --role system-admin")
    every_role = [*_TENANT_ROLES, Role.SYSTEM_ADMIN]
    create.add_argument("--role", default=Role.MEMBER, choices=every_role)
    create.add_argument("--label", default="", help="what it is for")
    create.add_argument("--expires-days", type=_count, help="left out: it does not expire")
    listing = _verb(key, "list", commands.key_list, "list the keys: expiry and last use")
    listing.add_argument("--tenant", help="of one tenant")
    revoke = _verb(key, "revoke", commands.key_revoke, "make a key worthless at once")
    revoke.add_argument("key", help="the key itself, or its number in the portal")

    user = verbs.add_parser("user", help="people").add_subparsers(required=True)
    create = _verb(user, "create", commands.user_create, "add somebody; reads the password")
    create.add_argument("email")
    create.add_argument("--tenant")
    create.add_argument("--role", default=Role.MEMBER, choices=_TENANT_ROLES)
    create.add_argument("--system-admin", action="store_true")

    audit = verbs.add_parser("audit", help="the audit trail").add_subparsers(required=True)
    verify = _verb(audit, "verify", commands.audit_verify, "find any change, removal or reorder")
    verify.add_argument(
        "--seal", type=_seal, action="append", default=[], help="one that was printed before"
    )
    export = _verb(audit, "export", commands.audit_export, "print records, one a line")
    export.add_argument("--format", choices=sorted(FORMATS), default="jsonl")
    export.add_argument("--tenant", help="of one tenant alone")
    export.add_argument("--from", dest="since", help="a date or time in ISO 8601, in UTC")
    export.add_argument("--to", dest="until", help="the last day, or the time before which")
    return top


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _seal(text: str) -> Seal:
    number, _, digest = text.partition(":")
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no seal, such as 12:3f9a...")
    return Seal(int(number), digest)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: commands.Command,
    help: str,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help, description=help)
    verb.set_defaults(run=run)
    return verb


if __name__ == "__main__":
    sys.exit(main())

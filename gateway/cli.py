"""The command `argonath`: administration of a running gateway from its checkout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gateway import commands
from gateway.errors import GatewayError
from gateway.identity import Role
from gateway.settings import Settings

_TENANT_ROLES = [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 1 with a sentence on standard error otherwise."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(Settings.load(), options) or 0)
    except GatewayError as error:
        print(f"argonath: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="argonath", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="COMMAND")

    status = _verb(verbs, "status", commands.status, "say which parts are ready")
    status.add_argument("--json", action="store_true", help="as JSON")
    _verb(verbs, "migrate", commands.migrate_database, "bring the database to the present schema")
    wait = _verb(verbs, "wait", commands.wait, "wait until the database has the present schema")
    wait.add_argument("--seconds", type=float, default=120)
    _verb(verbs, "welcome", commands.welcome, "say where to go and how to sign in")
    _verb(verbs, "demo", commands.load_demo, "make the demonstration tenants, people and studies")
    logs = _verb(verbs, "logs", commands.logs, "print the gateway's log")
    logs.add_argument("--lines", type=int, default=100)

    tenant = verbs.add_parser("tenant", help="tenants").add_subparsers(required=True)
    create = _verb(tenant, "create", commands.tenant_create, "add a tenant")
    create.add_argument("tenant", help="its name: lower-case letters, digits and -")
    create.add_argument("--title", default="")
    create.add_argument("--ae-title", action="append", default=[], help="may be repeated")
    _verb(tenant, "list", commands.tenant_list, "list the tenants and their AE titles")

    key = verbs.add_parser("api-key", help="API keys").add_subparsers(required=True)
    create = _verb(key, "create", commands.key_create, "make a key and print it, alone")
    create.add_argument("--tenant", help="whose key; left out only with --role system-admin")
    every_role = [*_TENANT_ROLES, Role.SYSTEM_ADMIN]
    create.add_argument("--role", type=Role, default=Role.MEMBER, choices=every_role)
    create.add_argument("--label", default="", help="what it is for")
    revoke = _verb(key, "revoke", commands.key_revoke, "make a key worthless at once")
    revoke.add_argument("key", help="the key itself, or its number in the portal")

    user = verbs.add_parser("user", help="people").add_subparsers(required=True)
    create = _verb(user, "create", commands.user_create, "add somebody; reads the password")
    create.add_argument("email")
    create.add_argument("--tenant")
    create.add_argument("--role", type=Role, default=Role.MEMBER, choices=_TENANT_ROLES)
    create.add_argument("--system-admin", action="store_true")

    audit = verbs.add_parser("audit", help="the audit trail").add_subparsers(required=True)
    _verb(audit, "verify", commands.audit_verify, "find any change, removal or reorder")
    return top


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

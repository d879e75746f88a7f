"""Notifications: the webhooks that rules call, and the alert when something is stuck."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import forms, stuck, webhooks
from extensions.routing.portal.common import (
    encryption_key,
    pages,
    portal,
    tenant_session,
    who,
)
from gateway import mail
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.needs import Needs


@pages.get("/notifications")
@Needs(Action.CHANGE_ROUTING)
def show_notifications(
    error: GatewayError | None = None, name: str = "", secret: str = ""
) -> ResponseReturnValue:
    """The list of webhooks and the forms; a new secret is shown once."""
    with tenant_session() as session:
        found = webhooks.list_webhooks(session)
        alert = stuck.alert_of(session)
    page = render_template(
        "routing/notifications.html",
        found=found,
        alert=alert,
        has_mail=mail.is_set_up(portal().settings),
        error=error,
        name=name,
        secret=secret,
    )
    return page, error.http_status if error else 200


@pages.post("/notifications/alert")
@Needs(Action.CHANGE_ROUTING)
def save_alert() -> ResponseReturnValue:
    """When the admins are told that something is stuck."""
    try:
        minutes = forms.number_of(request.form.get("minutes", ""), "minutes") or 0
        with tenant_session() as session:
            stuck.set_alert(session, stuck.Alert(minutes, request.form.get("webhook", "")), **who())
    except InvalidInput as error:
        portal().record_failure("change-stuck-alert", "alert", error.code)
        return show_notifications(error)
    flash("The alert is saved.")
    return redirect("/routing/notifications", 303)


@pages.post("/webhooks/new")
@Needs(Action.CHANGE_ROUTING)
def save_webhook() -> ResponseReturnValue:
    """Add a webhook, or give the one of that name another address; always with a new secret."""
    name = request.form.get("name", "")
    try:
        with tenant_session() as session:
            secret = webhooks.put(
                session,
                name,
                request.form.get("url", ""),
                encryption_key=encryption_key(),
                **who(),
            )
    except InvalidInput as error:
        portal().record_failure("change-webhook", f"webhook {name}", error.code)
        return show_notifications(error, name)
    return show_notifications(None, name, secret)


@pages.post("/webhooks/<int:number>/delete")
@Needs(Action.CHANGE_ROUTING)
def delete_webhook(number: int) -> ResponseReturnValue:
    """Remove a webhook that no rule uses."""
    try:
        with tenant_session() as session:
            webhooks.delete(session, number, **who())
    except Conflict as error:
        return show_notifications(error)
    flash("The webhook is deleted.")
    return redirect("/routing/notifications", 303)

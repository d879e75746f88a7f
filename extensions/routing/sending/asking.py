"""An association with a destination for one question of ours, e.g. C-ECHO, C-FIND or N-ACTION."""

from __future__ import annotations

from pynetdicom import AE, evt
from pynetdicom.association import Association

from extensions.routing.destination_settings import DimseSettings
from gateway.errors import DestinationUnavailable
from gateway.reaching import Line


def associate(
    settings: DimseSettings, sop_class: str, timeout_s: float, *handlers: evt.EventHandlerType
) -> tuple[Association, Line]:
    """Established or not; by the line can be told why not (`reaching.why_not`).

    Raises `DestinationUnavailable` for a host that cannot be resolved.
    """
    ae = AE(ae_title=settings.calling_aet)
    ae.connection_timeout = min(10.0, timeout_s)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.add_requested_context(sop_class)
    line = Line()
    try:
        association = ae.associate(
            settings.host,
            settings.port,
            ae_title=settings.called_aet,
            evt_handlers=[(evt.EVT_CONN_OPEN, line.opened), *handlers],
        )
    except OSError as error:
        raise DestinationUnavailable(f"{settings.host} cannot be resolved.") from error
    return association, line

"""The Python plugin's script: every Orthanc callback, registered exactly once.

A table of contents; what happens is in the module that is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orthanc_plugins import node, sdk

orthanc = sdk.load()
NODE = node.start(orthanc)
KEPT: list[Callable[..., Any]] = []


def kept[F: Callable[..., Any]](callback: F) -> F:
    """Hold a reference to `callback` for ever.

    When Orthanc stops, the plugin drops its own references without the interpreter's lock: it
    crashes where one of them is the last.
    """
    KEPT.append(callback)
    return callback


orthanc.RegisterIncomingHttpRequestFilter(kept(NODE.request_filter))
orthanc.RegisterRestCallback("/tools/find", kept(NODE.find_override))
orthanc.RegisterRestCallback("/deletions/studies/([0-9.]+)", kept(NODE.deletion.route))
orthanc.RegisterRestCallback("/places/studies/([0-9.]+)", kept(NODE.places.route))
orthanc.RegisterRestCallback("/argonath/admit", kept(NODE.ingest.admit_route))
orthanc.RegisterRestCallback("/argonath/event", kept(NODE.event))
orthanc.RegisterRestCallback("/argonath/ready", kept(NODE.ready))
orthanc.RegisterReceivedInstanceCallback(kept(NODE.before_storage.received))
orthanc.RegisterIncomingCStoreInstanceFilter(kept(NODE.ingest.c_store_status))
orthanc.RegisterOnStoredInstanceCallback(kept(NODE.ingest.stored))
orthanc.RegisterFindCallback(kept(NODE.dimse.find))
orthanc.RegisterWorklistCallback(kept(NODE.dimse.worklist))
orthanc.RegisterStorageCommitmentScpCallback(
    kept(NODE.commitment.asked), kept(NODE.commitment.look_up)
)
orthanc.RegisterMoveCallback2(
    kept(NODE.dimse.move_create),
    kept(NODE.dimse.move_size),
    kept(NODE.dimse.move_apply),
    kept(NODE.dimse.move_free),
)

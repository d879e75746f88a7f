"""The Python plugin's script: every Orthanc callback, registered exactly once.

A table of contents; what happens is in the module that is named.
"""

from __future__ import annotations

from orthanc_plugins import node, sdk

orthanc = sdk.load()
NODE = node.start(orthanc)

orthanc.RegisterIncomingHttpRequestFilter(NODE.request_filter)
orthanc.RegisterRestCallback("/tools/find", NODE.find_override)
orthanc.RegisterRestCallback("/argonath/admit", NODE.ingest.admit_route)
orthanc.RegisterRestCallback("/argonath/event", NODE.event)
orthanc.RegisterRestCallback("/argonath/ready", NODE.ready)
orthanc.RegisterReceivedInstanceCallback(NODE.ingest.received)
orthanc.RegisterIncomingCStoreInstanceFilter(NODE.ingest.c_store_status)
orthanc.RegisterOnStoredInstanceCallback(NODE.ingest.stored)
orthanc.RegisterFindCallback(NODE.dimse.find)
orthanc.RegisterMoveCallback2(
    NODE.dimse.move_create, NODE.dimse.move_size, NODE.dimse.move_apply, NODE.dimse.move_free
)

"""What of Orthanc's own REST a system administrator may use: rows of `gateway.routes.TABLE`.

Left out, so that nobody may: what would change a tenant's study behind its owner's back (labels,
metadata, attachments, merge, split, POST /instances, WebDAV), what would open a way around the
policy (modalities, peers and DICOMweb servers, C-FIND and C-MOVE by Orthanc's own SCU, scripts),
and what would stop or empty the archive (reset, shutdown, the logs of changes and exports).
"""

from __future__ import annotations

_NAME = r"[^/]+"
_LEVELS = r"/(?:patients|studies|series|instances)"
_PARTS = r"/(?:studies|series|instances)"
_FRAME = r"image-int16|image-uint16|image-uint8|matlab|numpy|preview|rendered"
_ATTACHMENT = r"compressed-data|compressed-md5|compressed-size|data|info|is-compressed|md5|size"
_SUB_RESOURCES = "|".join(
    (
        rf"attachments(?:/{_NAME}(?:/(?:{_ATTACHMENT}))?)?",
        rf"(?:labels|metadata)(?:/{_NAME})?",
        r"patient|study|studies|series|instances|instances-tags|module|module-patient",
        r"ordered-slices|protected|shared-tags|statistics|archive|media",
        r"file|header|tags|simplified-tags|pdf|content(?:/.+)?",
        rf"{_FRAME}|frames(?:/\d+(?:/(?:{_FRAME}|raw|raw\.gz))?)?",
    )
)
_TOOLS = "|".join(
    (
        r"accepted-sop-classes|accepted-transfer-syntaxes|unknown-sop-class-accepted",
        r"create-archive|create-media|create-media-extended|default-encoding|dicom-conformance",
        r"generate-uid|labels|log-level(?:-[a-z]+)?|metrics|metrics-prometheus|now|now-local",
    )
)

# methods, path
RAW_ARCHIVE: tuple[tuple[str, str], ...] = (
    ("GET HEAD", r"/|/app(?:/.+)?|/system|/statistics|/changes|/exports|/argonath/ready"),
    ("GET HEAD", rf"{_LEVELS}(?:/{_NAME}(?:/(?:{_SUB_RESOURCES}))?)?"),
    ("GET HEAD", rf"/tools(?:/(?:{_TOOLS}))?"),
    ("GET HEAD", rf"/jobs(?:/{_NAME}){{0,2}}|/storage-commitment/{_NAME}"),
    ("GET HEAD", rf"/plugins(?:/{_NAME})?|/queries(?:/{_NAME}(?:/(?:level|modality|query))?)?"),
    ("GET HEAD", rf"/queries/{_NAME}/answers(?:/\d+(?:/content)?)?"),
    ("GET HEAD", rf"/(?:modalities|peers)(?:/{_NAME}(?:/configuration)?)?"),
    ("GET HEAD", rf"/dicom-web/(?:info|servers(?:/{_NAME})?|app/(?:libs|client)/.+)"),
    ("DELETE", rf"{_LEVELS}/{_NAME}|/jobs/{_NAME}|/queries/{_NAME}"),
    ("POST", rf"{_LEVELS}/{_NAME}/(?:archive|media|reconstruct)"),
    ("POST", rf"{_PARTS}/{_NAME}/(?:anonymize|modify)"),
    ("POST", rf"{_LEVELS}/{_NAME}/attachments/{_NAME}/verify-md5"),
    ("POST", rf"/studies/{_NAME}/update-dicomweb-cache"),
    ("POST", rf"/jobs/{_NAME}/(?:cancel|pause|resubmit|resume)|/modalities/{_NAME}/echo"),
    ("POST", r"/tools/(?:find|lookup|count-resources|bulk-content|bulk-delete|dicom-echo)"),
    ("POST", r"/tools/(?:create-archive|create-media|create-media-extended)"),
    ("POST", r"/tools/(?:invalidate-tags|reconstruct)"),
    ("PUT", r"/tools/log-level(?:-[a-z]+)?|/tools/metrics"),
)

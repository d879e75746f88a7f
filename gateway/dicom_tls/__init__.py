"""DICOM over TLS in front of Orthanc: client certificates are mapped to AE titles.

Orthanc's own TLS is all or nothing for its one port and tells no callback whose certificate it
was. So a process of ours ends TLS, admits the association and passes its bytes on; see docs/tls.md.
"""

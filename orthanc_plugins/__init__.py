"""The node host: what runs inside Orthanc's Python plugin, and the only code that imports it."""

"""Viewer.

OHIF, served at /viewer/ and opened from a study by one click, signed in by the portal's session.
Its files come from the npm package `@ohif/app` (docker/packages-npm.toml); nginx serves them.
"""

__version__ = "0.1.0"

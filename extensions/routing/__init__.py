"""Routing.

A tenant's rules say which studies go to which destination; the ledger knows, for each instance,
whether it arrived there.
"""

__version__ = "0.1.0"

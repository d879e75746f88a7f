"""Routing.

A tenant's rules say which studies go to which destination; the ledger knows, for each instance,
whether it arrived there. What a rule says and when it applies is in `rules/`, what it changes in
`changes/`, how a study gets to its destination in `sending/`; what lies beside them plans, acts and
keeps the books.
"""

__version__ = "0.1.0"

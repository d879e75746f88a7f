"""Storage commitment.

Tells a modality which of the instances that it asked about are safe here.
"""

__version__ = "0.1.0"

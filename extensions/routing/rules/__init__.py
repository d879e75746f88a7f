"""Rules: what they say, when they apply and why. No I/O in this room."""

"""Sending a delivery: senders by kind of destination, their limits, and the run itself."""

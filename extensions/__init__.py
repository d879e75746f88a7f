"""Every feature is an extension: one folder each, written against `gateway`'s public API."""

"""Use cases, one module a noun; they know no framework."""

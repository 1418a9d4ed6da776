"""Loops that call resolvers: settlement feeds, reconciliation, expiry."""

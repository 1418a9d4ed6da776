"""Receives over Lightning through an own LND node."""

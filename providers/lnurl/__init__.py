"""Payees at Lightning Addresses and LNURLs."""

"""Receives into a Strike account, pays out of it, and reads its rates."""

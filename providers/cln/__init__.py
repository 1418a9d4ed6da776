"""Receives and pays over Lightning with a Core Lightning node of one's own."""

"""The paywall's decision and the 402 methods."""

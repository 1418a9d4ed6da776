"""A sandbox Core Lightning node: real https, runes and BOLT11, on the network of the LND nodes."""

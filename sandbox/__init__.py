"""Simulated rails that speak the real wire protocols."""

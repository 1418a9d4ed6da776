"""Quittance: open payments for the web, proved and booked once."""

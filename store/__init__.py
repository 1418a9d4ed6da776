"""Rows, sessions, queries, dataloaders, the event log and its migrations."""

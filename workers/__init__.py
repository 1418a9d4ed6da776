"""Loops that call resolvers: settlement feeds, webhooks, jobs."""

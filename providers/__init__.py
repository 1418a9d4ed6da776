"""The rails: their ports, and one package an adapter."""

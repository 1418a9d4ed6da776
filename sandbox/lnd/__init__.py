"""Sandbox LND nodes: real gRPC, TLS, macaroons and BOLT11, on regtest."""

"""A Strike account on the sandbox's bitcoin network, reached by Strike's REST API."""

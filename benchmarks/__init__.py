"""The figures of docs/performance.md: ``uv run python -m benchmarks``."""

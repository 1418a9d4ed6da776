"""Run the command line: ``python -m quittance``."""

from quittance.server.cli import main

main()

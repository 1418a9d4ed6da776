"""The sandbox in a process of its own: ``python -m quittance.sandbox --directory DIR``."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import uvloop
from starlette.applications import Starlette

from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.control import control_routes
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.rails import SandboxBusy, SandboxRails


async def run(*, directory: Path, port: int) -> None:
    """Run rails and remote control until a signal ends the process; say where they are in one line of JSON.

    Raises:
        SandboxBusy: another process runs the rails of this directory.
    """
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    rails = await SandboxRails.start(directory=directory, clock=SandboxClock(directory / "clock.json"))
    control = LoopbackServer(Starlette(routes=control_routes(rails)))
    try:
        await control.start(port)
        line = json.loads(rails.coordinates.to_json()) | {"control_url": f"http://127.0.0.1:{control.port}/sandbox"}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await control.stop()
        await rails.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m quittance.sandbox", description="Run the sandbox rails.")
    parser.add_argument("--directory", type=Path, required=True, help="where keys, certificates and state are kept")
    parser.add_argument("--port", type=int, default=0, help="port of the remote control (default: any free one)")
    arguments = parser.parse_args()
    try:
        uvloop.run(run(directory=arguments.directory, port=arguments.port))
    except SandboxBusy as busy:
        sys.stderr.write(f"{busy}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

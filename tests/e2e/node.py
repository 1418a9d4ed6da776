"""Node, and the packages of an example: the developer's own if they are current, else installed once and kept."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE_MAJOR_MIN = 20
RUN_S_MAX = 180.0

_EVERYTHING = os.environ.get("TEST_EVERYTHING")
_INSTALL_INPUTS = ("package.json", "package-lock.json", ".npmrc")
_INSTALL_S_MAX = 400.0
_NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT")


def run(*command: str, folder: Path, timeout_s: float = RUN_S_MAX) -> "subprocess.CompletedProcess[str]":
    program = shutil.which(command[0]) or command[0]
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def environment() -> dict[str, str]:
    """Return this process's environment without our settings, and without colours."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("QUITTANCE_")}
    return {**foreign, "NO_COLOR": "1"}


def said(done: "subprocess.CompletedProcess[str]") -> str:
    return f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"


def packages_of(example: Path, cache: pytest.Cache | None) -> Path:
    """Return the example's ``node_modules`` as its lock says; skip, or fail where everything is to be tested."""
    _require_node(example)
    lock = example / "package-lock.json"
    assert cache is not None
    kept = cache.mkdir(f"{example.name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}")
    for found in (example / "node_modules", kept / "node_modules"):
        if _holds(found, lock):
            return found
    for name in _INSTALL_INPUTS:
        shutil.copy(example / name, kept / name)
    done = run("npm", "ci", "--no-audit", "--no-fund", folder=kept, timeout_s=_INSTALL_S_MAX)
    if done.returncode != 0 and any(code in done.stderr for code in _NO_NETWORK):
        _missing("the packages are not installed and the npm registry is not reachable: run `npm ci` once online")
    assert done.returncode == 0, said(done)
    return kept / "node_modules"


def named_registries(example: Path) -> list[str]:
    """Return the addresses that an example's lock would be fetched from: none, so that each machine uses its own."""
    entries = json.loads((example / "package-lock.json").read_text())["packages"].values()
    return [entry["resolved"] for entry in entries if "resolved" in entry]


def _require_node(example: Path) -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            _missing(f"{program} is not installed: examples/{example.name} needs Node {NODE_MAJOR_MIN} or later")
    version = run("node", "--version", folder=ROOT).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR_MIN:
        _missing(f"Node {version} is too old: examples/{example.name} needs {NODE_MAJOR_MIN} or later")


def _missing(reason: str) -> None:
    if _EVERYTHING:
        pytest.fail(reason)
    pytest.skip(reason)


def _holds(packages: Path, lock: Path) -> bool:
    record = packages / ".package-lock.json"
    if not record.is_file():
        return False
    installed = json.loads(record.read_text())["packages"]
    wanted = json.loads(lock.read_text())["packages"]
    return all(
        installed.get(name, {}).get("version") == entry["version"]
        for name, entry in wanted.items()
        if name and not entry.get("optional")
    )

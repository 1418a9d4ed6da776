"""The TypeScript example: generated from the contract, type-checked, and played against the running server."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "typescript"
LOCK = EXAMPLE / "package-lock.json"
INSTALL_INPUTS = ("package.json", "package-lock.json", ".npmrc")
NODE_MAJOR_MIN = 20
RUN_S_MAX = 180.0
INSTALL_S_MAX = 400.0
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT")

GAINED = """
type MoonPhaseError implements UserError { code: String! message: String! retryable: Boolean! }
extend union GenerateInvoiceResult = MoonPhaseError
"""


class RunningServer(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...


class Workspace:
    """A copy of the contract and the example, laid out as in the repository; the packages are shared."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.contract = folder / "schema.graphql"
        self.example = folder / "examples" / "typescript"
        shutil.copy(ROOT / "schema.graphql", self.contract)
        shutil.copytree(EXAMPLE, self.example, ignore=shutil.ignore_patterns("node_modules", "dist", "generated"))
        (self.example / "node_modules").symlink_to(packages, target_is_directory=True)

    def npm(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return _run("npm", *arguments, folder=self.example, timeout_s=RUN_S_MAX)


def _run(*command: str, folder: Path, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUITTANCE_")}
    program = shutil.which(command[0]) or command[0]
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env={**environment, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"


def _holds_what_the_lock_says(packages: Path) -> bool:
    record = packages / ".package-lock.json"
    if not record.is_file():
        return False
    installed = json.loads(record.read_text())["packages"]
    wanted = json.loads(LOCK.read_text())["packages"]
    return all(
        installed.get(name, {}).get("version") == entry["version"]
        for name, entry in wanted.items()
        if name and not entry.get("optional")
    )


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    """The example's ``node_modules``: the developer's own if current, else one kept between runs."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the TypeScript example needs Node {NODE_MAJOR_MIN} or later")
    version = _run("node", "--version", folder=ROOT, timeout_s=RUN_S_MAX).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"Node {version} is too old: the TypeScript example needs {NODE_MAJOR_MIN} or later")
    assert request.config.cache is not None
    kept = request.config.cache.mkdir(f"typescript-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}")
    for found in (EXAMPLE / "node_modules", kept / "node_modules"):
        if _holds_what_the_lock_says(found):
            return found
    for name in INSTALL_INPUTS:
        shutil.copy(EXAMPLE / name, kept / name)
    done = _run("npm", "ci", "--no-audit", "--no-fund", folder=kept, timeout_s=INSTALL_S_MAX)
    if done.returncode != 0 and any(code in done.stderr for code in NO_NETWORK):
        pytest.skip("the packages are not installed and the npm registry is not reachable: run `npm ci` once online")
    assert done.returncode == 0, _said(done)
    return kept / "node_modules"


@pytest.fixture(scope="module")
def built(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The example, generated, type-checked and compiled."""
    workspace = Workspace(tmp_path_factory.mktemp("typescript"), packages)
    for script in ("generate", "typecheck", "build"):
        done = workspace.npm("run", script)
        assert done.returncode == 0, _said(done)
    return workspace


def test_generated_files_are_what_the_contract_gives(built: Workspace) -> None:
    current = built.npm("run", "check")
    (built.example / "src" / "generated" / "graphql.ts").write_text("export {};\n")
    stale = built.npm("run", "check")
    again = built.npm("run", "generate")

    assert current.returncode == 0, _said(current)
    assert stale.returncode != 0, _said(stale)
    assert again.returncode == 0, _said(again)


def test_error_that_the_contract_gains_does_not_compile(packages: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, packages)
    with workspace.contract.open("a") as contract:
        contract.write(GAINED)

    done = workspace.npm("run", "typecheck")

    assert done.returncode != 0, _said(done)
    assert re.search(r"src/failures\.ts.*MoonPhaseError.*never", done.stdout), _said(done)


def test_story_is_true_of_the_running_server(built: Workspace, server: RunningServer) -> None:
    done = built.npm("run", "story", "--", "--url", server.url, "--key", server.api_key)

    assert done.returncode == 0, _said(done)
    assert done.stdout.splitlines()[-1] == "done"


def test_story_with_a_wrong_key_fails_with_a_sentence(built: Workspace, server: RunningServer) -> None:
    done = _run(
        "node", "dist/src/story.js", "--url", server.url, "--key", "wrong", folder=built.example, timeout_s=RUN_S_MAX
    )

    assert done.returncode == 1, _said(done)
    assert done.stderr.startswith("story: "), _said(done)
    assert len(done.stderr.splitlines()) == 1, _said(done)


def test_lock_names_no_registry() -> None:
    entries = json.loads(LOCK.read_text())["packages"].values()

    assert [entry["resolved"] for entry in entries if "resolved" in entry] == []

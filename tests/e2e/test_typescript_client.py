"""The TypeScript example: generated from the contract, type-checked, and played against the running server."""

import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

import pytest
from tests.e2e.node import ROOT, named_registries, packages_of, run, said

EXAMPLE = ROOT / "examples" / "typescript"

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

    def npm(self, *arguments: str) -> "CompletedProcess[str]":
        return run("npm", *arguments, folder=self.example)


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    return packages_of(EXAMPLE, request.config.cache)


@pytest.fixture(scope="module")
def built(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The example, generated, type-checked and compiled."""
    workspace = Workspace(tmp_path_factory.mktemp("typescript"), packages)
    for script in ("generate", "typecheck", "build"):
        done = workspace.npm("run", script)
        assert done.returncode == 0, said(done)
    return workspace


def test_generated_files_are_what_the_contract_gives(built: Workspace) -> None:
    current = built.npm("run", "check")
    (built.example / "src" / "generated" / "graphql.ts").write_text("export {};\n")
    stale = built.npm("run", "check")
    again = built.npm("run", "generate")

    assert current.returncode == 0, said(current)
    assert stale.returncode != 0, said(stale)
    assert again.returncode == 0, said(again)


def test_error_that_the_contract_gains_does_not_compile(packages: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, packages)
    with workspace.contract.open("a") as contract:
        contract.write(GAINED)

    done = workspace.npm("run", "typecheck")

    assert done.returncode != 0, said(done)
    assert re.search(r"src/failures\.ts.*MoonPhaseError.*never", done.stdout), said(done)


def test_story_is_true_of_the_running_server(built: Workspace, server: RunningServer) -> None:
    done = built.npm("run", "story", "--", "--url", server.url, "--key", server.api_key)

    assert done.returncode == 0, said(done)
    assert done.stdout.splitlines()[-1] == "done"


def test_story_with_a_wrong_key_fails_with_a_sentence(built: Workspace, server: RunningServer) -> None:
    done = run("node", "dist/src/story.js", "--url", server.url, "--key", "wrong", folder=built.example)

    assert done.returncode == 1, said(done)
    assert done.stderr.startswith("story: "), said(done)
    assert len(done.stderr.splitlines()) == 1, said(done)


def test_lock_names_no_registry() -> None:
    assert named_registries(EXAMPLE) == []

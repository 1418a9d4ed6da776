"""The tree: every folder has its link, the wheel holds real files, the contract is what the code says."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
)

from quittance.gql.schema import sdl
from quittance.server.reference import settings_markdown
from quittance.store.migrate import differences, upgrade

ROOT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = (
    "domain",
    "gql",
    "paywall",
    "providers",
    "resolvers",
    "sandbox",
    "server",
    "store",
    "web",
    "workers",
)


@pytest.mark.parametrize("folder", CODE_FOLDERS)
def test_every_code_folder_has_its_link(folder: str) -> None:
    link = ROOT / "src" / "quittance" / folder

    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


def test_no_folder_is_forgotten() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks"}

    assert packages == set(CODE_FOLDERS)


def test_the_contract_is_what_the_code_says() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == sdl(), "run `quittance schema export`"


def test_everything_in_the_contract_is_described() -> None:
    schema = build_schema(sdl())
    undescribed = []
    for name, kind in schema.type_map.items():
        if name.startswith("__") or name in {"String", "Int", "Float", "Boolean", "ID"}:
            continue
        if not kind.description:
            undescribed.append(name)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            undescribed += [f"{name}.{field}" for field, found in kind.fields.items() if not found.description]
        if isinstance(kind, GraphQLObjectType):
            undescribed += [
                f"{name}.{field}({argument})"
                for field, found in kind.fields.items()
                for argument, said in found.args.items()
                if not said.description
            ]
        if isinstance(kind, GraphQLEnumType):
            assert kind.values

    assert undescribed == []


def test_the_migrations_make_what_the_rows_say(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fresh.db'}"

    upgrade(url)

    assert differences(url) is None


def test_the_settings_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown(), (
        "run `python -m quittance.server.reference > docs/settings.md`"
    )


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        if not target.startswith(("http://", "https://")) and not (page.parent / target).exists()
    ]

    assert broken == []


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy: what an earlier build left behind must not slip in
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "node_modules", ".*_cache", ".quittance", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())

    tracked = subprocess.run(["git", "ls-files", *CODE_FOLDERS], capture_output=True, text=True, check=True, cwd=ROOT)
    wanted = {f"quittance/{name}" for name in tracked.stdout.splitlines()}
    assert wanted - held == set()
    assert "quittance/py.typed" in held
    assert "quittance/__main__.py" in held

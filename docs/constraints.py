"""Write the versions that ``uv.lock`` resolved to into ``pyproject.toml``: ``uv run python docs/constraints.py``."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"


def main() -> None:
    versions: dict[str, set[str]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        versions.setdefault(package["name"], set()).add(package.get("version", ""))
    # a package with one version for old and another for new Pythons is left to the resolver
    pins = [f'    "{name}=={min(found)}",' for name, found in sorted(versions.items()) if len(found) == 1]
    pins = [pin for pin in pins if not pin.startswith('    "quittance==')]
    table = "constraint-dependencies = [\n" + "\n".join(pins) + "\n]\n"
    text = PYPROJECT.read_text()
    PYPROJECT.write_text(re.sub(r"constraint-dependencies = \[.*?\n?\]\n", table, text, flags=re.DOTALL))
    print(f"{len(pins)} versions written")  # noqa: T201


if __name__ == "__main__":
    main()

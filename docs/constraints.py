"""Write the versions that ``uv.lock`` resolved to into ``pyproject.toml``: ``uv run python docs/constraints.py``."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"


def main() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    pins = sorted(f'    "{package["name"]}=={package["version"]}",' for package in packages if package["name"] != "quittance")
    table = "constraint-dependencies = [\n" + "\n".join(pins) + "\n]\n"
    text = PYPROJECT.read_text()
    PYPROJECT.write_text(re.sub(r"constraint-dependencies = \[.*?\n?\]\n", table, text, flags=re.DOTALL))
    print(f"{len(pins)} versions written")  # noqa: T201


if __name__ == "__main__":
    main()

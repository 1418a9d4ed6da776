"""Every setting, written from the code: ``python -m quittance.server.reference > docs/settings.md``."""

import sys

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from quittance.server.settings import PREFIX, Settings

_HEAD = """# Settings

Every setting is an environment variable, or a line of `.env`. A wrong one stops the start with one line that names it.
This page is written from the code; `tests/architecture` holds it to that.

| variable | default | what it is |
|---|---|---|
"""


def settings_markdown() -> str:
    """Return the page: one row a setting, in the order of the code."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default in (None, "", PydanticUndefined) or default == []:
        return ""
    if isinstance(default, list):
        default = ",".join(default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    sys.stdout.write(settings_markdown())

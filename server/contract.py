"""How the code's contract differs from an earlier one."""

from graphql import build_schema
from graphql.utilities import find_breaking_changes, find_dangerous_changes

from quittance.gql.schema import sdl


def changes_since(earlier: str) -> tuple[list[str], list[str], bool]:
    """Return what breaks clients of ``earlier``, what may surprise them, and whether both are the same text."""
    old, new = build_schema(earlier), build_schema(sdl())
    breaking = [change.description for change in find_breaking_changes(old, new)]
    dangerous = [change.description for change in find_dangerous_changes(old, new)]
    return breaking, dangerous, earlier == sdl()

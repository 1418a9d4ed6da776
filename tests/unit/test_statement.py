"""Statements compiled once per dialect: the same values in the same places, constants included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, insert, select, update
from sqlalchemy.schema import CreateTable

from quittance.store.statement import BatchStatement, Statement

THING = Table(
    "thing",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("state", Text),
    Column("size", BigInteger),
)
FIND = Statement(
    lambda _: select(THING.c.id).where(THING.c.state == "OPEN", THING.c.size > bindparam("size")).limit(bindparam("n"))
)
BATCH = BatchStatement(lambda _, keys: select(THING.c.id).where(THING.c.id.in_(keys)))


def test_a_statement_brings_its_own_constants_on_both_dialects() -> None:
    sql, positional = FIND.sqlite({"size": 5, "n": 1})
    numbered_sql, numbered = FIND.postgresql({"size": 5, "n": 1})

    assert positional == ("OPEN", 5, 1, 0)  # no offset
    assert sql.count("?") == 4
    assert sorted(map(str, numbered)) == ["1", "5", "OPEN"]
    assert [f"${place}" in numbered_sql for place in range(1, 5)] == [True, True, True, False]


def test_a_constant_cannot_be_mistaken_for_a_parameter_of_the_same_name() -> None:
    change = Statement(
        lambda _: (
            update(THING).where(THING.c.id == bindparam("thing_id")).values(state="CLOSED", size=bindparam("size"))
        )
    )

    _, positional = change.sqlite({"thing_id": "a", "size": 7})

    assert positional == ("CLOSED", 7, "a")


def test_a_missing_parameter_is_a_bug_and_not_a_null() -> None:
    with pytest.raises(KeyError, match="size"):
        FIND.postgresql({"n": 1})


def test_a_statement_is_compiled_once_per_dialect() -> None:
    built: list[str] = []

    def build(dialect: object) -> object:
        built.append(getattr(dialect, "__name__", ""))
        return insert(THING).values(id=bindparam("id"))

    statement = Statement(build)  # type: ignore[arg-type]
    for key in "abc":
        statement.sqlite({"id": key})
        statement.postgresql({"id": key})

    assert [name.rpartition(".")[2] for name in built] == ["sqlite", "postgresql"]


def test_a_list_of_plain_values_is_refused_before_the_database_sees_it() -> None:
    statement = Statement(lambda _: select(THING.c.id).where(THING.c.state.not_in(["OPEN", "CLOSED"])))

    with pytest.raises(TypeError, match="BatchStatement"):
        statement.sqlite({})
    with pytest.raises(TypeError, match="BatchStatement"):
        statement.postgresql({})


def test_a_statement_that_changes_the_schema_is_not_compiled() -> None:
    with pytest.raises(TypeError, match="read or change rows"):
        Statement(lambda _: CreateTable(THING)).sqlite({})


@given(st.lists(st.text(max_size=5), min_size=1, max_size=1_024))
def test_a_batch_holds_every_key_in_a_size_that_is_a_power_of_two(keys: list[str]) -> None:
    statement, parameters = BATCH.sized(keys)

    size = len(parameters)
    assert size & (size - 1) == 0
    assert len(keys) <= size < 2 * len(keys) or size == 1
    assert list(parameters.values()) == keys + [keys[-1]] * (size - len(keys))
    assert statement is BATCH.sized(["x"] * size)[0]


@pytest.mark.parametrize("count", [0, 1_025])
def test_a_batch_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 1024 keys"):
        BATCH.sized(["x"] * count)

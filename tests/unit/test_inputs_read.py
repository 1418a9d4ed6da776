"""Input objects: our readers make what Strawberry's own conversion makes."""

from typing import Any

import pytest
import strawberry
from strawberry.types.arguments import convert_argument
from strawberry.types.base import get_object_definition

from quittance.domain.article import ArticleStatus
from quittance.domain.payment import PaymentPurpose
from quittance.gql.inputs import read_inputs_directly
from quittance.gql.schema import schema
from quittance.gql.types.article import CreateArticleInput, UpdateArticleInput
from quittance.gql.types.money import AmountInput
from quittance.gql.types.payment import GenerateInvoiceInput, PaymentFilter

INPUTS: list[type] = [GenerateInvoiceInput, AmountInput, CreateArticleInput, UpdateArticleInput, PaymentFilter]


def converted(input_type: type, value: dict[str, Any]) -> object:
    converter = schema.schema_converter
    return convert_argument(value, input_type, converter.scalar_registry, schema.config)


@pytest.fixture
def without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strawberry's own conversion, for all inputs."""
    for entry in schema.schema_converter.type_map.values():
        if getattr(entry.definition, "is_input", False):
            monkeypatch.setattr(entry.definition, "from_input", None)


CASES: list[tuple[type, dict[str, Any]]] = [
    (GenerateInvoiceInput, {}),
    (GenerateInvoiceInput, {"amount": {"sat": 5}, "alsoAccept": ["lnd"], "expiresIn": 60, "idempotencyKey": "k"}),
    (GenerateInvoiceInput, {"amount": None, "alsoAccept": None, "purpose": PaymentPurpose.UPVOTE, "articleId": "art"}),
    (GenerateInvoiceInput, {"amount": {"asset": {"assetCode": "BTC", "assetScale": 11, "value": 7}}}),
    (AmountInput, {"msat": 1}),
    (AmountInput, {"fiat": {"currency": "EUR", "value": "1.5"}}),
    (CreateArticleInput, {"title": "T", "content": "C", "price": {"sat": 1}, "status": ArticleStatus.HIDDEN}),
    (UpdateArticleInput, {"id": "art", "summary": None}),
    (UpdateArticleInput, {"id": "art"}),
    (PaymentFilter, {"correlationId": "c"}),
]


@pytest.mark.parametrize(("input_type", "value"), CASES)
def test_a_value_is_read_as_strawberry_reads_it(
    input_type: type, value: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    ours = converted(input_type, value)

    request.getfixturevalue("without_readers")
    assert ours == converted(input_type, value)


@pytest.mark.parametrize("input_type", INPUTS)
def test_every_input_has_a_reader(input_type: type) -> None:
    definition = get_object_definition(input_type, strict=True)

    assert definition.from_input is not None


def test_what_the_readers_do_not_know_is_refused_when_the_schema_is_built() -> None:
    @strawberry.input
    class Odd:
        perhaps: strawberry.Maybe[int]

    @strawberry.type
    class Query:
        @strawberry.field
        def echo(self, odd: Odd) -> int:
            return len(str(odd))

    with pytest.raises(TypeError, match="are not read here"):
        read_inputs_directly(strawberry.Schema(query=Query))

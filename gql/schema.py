"""The schema: three roots, the scalars, the errors. ``schema.graphql`` is written from it."""

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from quittance.gql.error_handlers import EXCEPTION_HANDLERS
from quittance.gql.inputs import RememberedNames, read_inputs_directly
from quittance.gql.mutation import Mutation
from quittance.gql.query import Query
from quittance.gql.scalars import SCALARS
from quittance.gql.subscription import Subscription
from quittance.gql.types.payment import LightningOption

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[LightningOption],
    config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True, name_converter=RememberedNames()),
    exception_handlers=EXCEPTION_HANDLERS,
)
read_inputs_directly(schema)


def core_schema() -> GraphQLSchema:
    """Return the graphql-core schema, for which strawberry has no public name."""
    return schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def sdl() -> str:
    """Return the contract, as ``schema.graphql`` holds it."""
    return schema.as_str().rstrip() + "\n"

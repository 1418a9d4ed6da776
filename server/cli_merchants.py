"""Commands about merchants and their keys; they work on the database, with or without a running server."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from quittance.server.cli_offline import DatabaseUrl, fail, offline

if TYPE_CHECKING:
    from quittance.domain.access import ApiKey
    from quittance.resolvers.services import Services

merchants_app = typer.Typer(help="Merchants: made with a first admin key, listed.", no_args_is_help=True)
keys_app = typer.Typer(
    help="API keys: made, listed, rotated, revoked. A key is shown once; only its hash is stored.",
    no_args_is_help=True,
)


@merchants_app.command("create")
def merchants_create(
    name: Annotated[str, typer.Option(help="The merchant's name.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Add a merchant and print its first admin key: this is the only time it can be seen."""
    from quittance.resolvers import merchants

    made = offline(database_url, lambda services: merchants.create_merchant(services, name=name))
    typer.echo(f"{made.merchant.id}  {made.first.key.id}", err=True)
    typer.echo(made.first.secret)


@merchants_app.command("list")
def merchants_list(database_url: DatabaseUrl = None) -> None:
    """List every merchant: id, default rail, policies, name."""
    from quittance.resolvers import merchants

    for merchant in offline(database_url, merchants.list_every_merchant):
        policy = merchant.policy
        told = f"late {policy.late}, under {policy.under}, over {policy.over}"
        typer.echo(f"{merchant.id}  {merchant.default_provider}  {told}  {merchant.name}")


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="admin, articles:write, payments:read or payments:write; repeat for several."),
    ] = None,
    merchant: Annotated[str | None, typer.Option(help="The merchant's id; the first merchant unless said.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print it: this is the only time it can be seen."""
    from quittance.domain.access import Scope, read_scopes
    from quittance.domain.errors import InvalidInput
    from quittance.domain.ids import BOOTSTRAP_MERCHANT, MerchantId
    from quittance.resolvers import keys

    try:
        scopes = read_scopes(scope or [Scope.PAYMENTS_READ, Scope.PAYMENTS_WRITE])
    except InvalidInput as error:
        fail(error.message)
    merchant_id = MerchantId(merchant or BOOTSTRAP_MERCHANT)
    made = offline(
        database_url, lambda services: keys.create_key(services, merchant_id=merchant_id, name=name, scopes=scopes)
    )
    typer.echo(f"{made.key.id}  {', '.join(sorted(made.key.scopes))}", err=True)
    typer.echo(made.secret)


@keys_app.command("list")
def keys_list(database_url: DatabaseUrl = None) -> None:
    """List every key: id, merchant, name, scopes, last use. The keys themselves are not known."""
    from quittance.resolvers import keys

    async def list_at(services: "Services") -> "tuple[list[ApiKey], datetime]":
        return await keys.list_every_key(services), services.now()

    found, now = offline(database_url, list_at)
    for key in found:
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id}  {key.merchant_id}  {key.prefix}…  {key.name}  {scopes}  {_state(key, now)}  {used}")


def _state(key: "ApiKey", now: datetime) -> str:
    if key.revoked_at is None:
        return "active"
    return f"until {key.revoked_at:%Y-%m-%d %H:%M}" if key.works(at=now) else f"revoked {key.revoked_at:%Y-%m-%d}"


@keys_app.command("rotate")
def keys_rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    overlap_seconds: Annotated[int, typer.Option(help="How long the old key still works: 0 to 2592000.")] = 86_400,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace a key by one with the same name and scopes, and print it; the old one works for the overlap."""
    from quittance.domain.ids import ApiKeyId
    from quittance.resolvers import keys

    made = offline(
        database_url, lambda services: keys.rotate_key(services, ApiKeyId(key_id), overlap_s=overlap_seconds)
    )
    typer.echo(f"{made.key.id}  {', '.join(sorted(made.key.scopes))}", err=True)
    typer.echo(made.secret)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key at once; open sockets of it are closed."""
    from quittance.domain.ids import ApiKeyId
    from quittance.resolvers import keys

    if not offline(database_url, lambda services: keys.revoke_key(services, ApiKeyId(key_id))):
        fail(f"there is no active key {key_id}; see `quittance keys list`")
    typer.echo(f"{key_id} is revoked")

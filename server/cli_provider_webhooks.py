"""`quittance provider-webhooks`: where providers tell us, and what they could not tell."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from quittance.server.cli_offline import DatabaseUrl, fail, with_rails

if TYPE_CHECKING:
    from quittance.resolvers.provider_webhooks import ManagedWebhook
    from quittance.resolvers.services import Services

provider_webhooks_app = typer.Typer(
    help="Webhooks at providers: where they tell us what happens, and what they could not tell. The provider is asked "
    "with the key that the server is set to; a running server knows of each change at once. Secrets are made here, "
    "accepted before the provider has them, and never shown.",
    no_args_is_help=True,
)

Provider = Annotated[str, typer.Option(help="The rail, such as strike.")]
WebhookId = Annotated[str, typer.Argument(help="The provider's id, as `provider-webhooks list` shows it.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", help="Of what to tell, in the provider's words, such as invoice.updated; repeat for several."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(help="From when on, such as 2026-05-01T12:00:00Z; UTC without an offset. Ten days ago unless said."),
]


@provider_webhooks_app.command("list")
def webhooks_list(provider: Provider = "strike", database_url: DatabaseUrl = None) -> None:
    """List every webhook of the account: id, on or off, whose secret it has, what it tells, where it goes.

    `ours` are those whose secret was made here. `foreign` ones are left alone until their address is subscribed.
    """
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_webhooks

    found = with_rails(
        database_url, lambda services: provider_webhooks.list_webhooks(services, COMMAND_LINE, provider=provider)
    )
    for one in found:
        typer.echo(_line(one))
    typer.echo(f"{len(found)} at {provider}", err=True)


@provider_webhooks_app.command("subscribe")
def webhooks_subscribe(
    provider: Provider = "strike",
    url: Annotated[
        str | None, typer.Option(help="The address; this server's /callbacks/PROVIDER unless another leads there.")
    ] = None,
    types: Types = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Have the provider tell an address. Asking again brings its webhook to what is asked, and adds none.

    So it is safe to repeat after an error, and also switches a webhook on again that was switched off.
    """
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_webhooks

    made = with_rails(
        database_url,
        lambda services: provider_webhooks.subscribe(services, COMMAND_LINE, provider=provider, url=url, kinds=types),
    )
    typer.echo(_line(made))


@provider_webhooks_app.command("update")
def webhooks_update(
    webhook_id: WebhookId,
    provider: Provider = "strike",
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    types: Types = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether anything is told there; as it is unless said.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Change where a webhook goes, what it tells, or whether it is on. What is not said stays, the secret too."""
    from quittance.domain.access import COMMAND_LINE
    from quittance.providers.subscriptions import SubscriptionChange
    from quittance.resolvers import provider_webhooks

    change = SubscriptionChange(url=url, kinds=None if types is None else tuple(types), enabled=enabled)
    changed = with_rails(
        database_url,
        lambda services: provider_webhooks.update(
            services, COMMAND_LINE, provider=provider, webhook_id=webhook_id, change=change
        ),
    )
    typer.echo(_line(changed))


@provider_webhooks_app.command("unsubscribe")
def webhooks_unsubscribe(
    webhook_id: WebhookId, provider: Provider = "strike", database_url: DatabaseUrl = None
) -> None:
    """Take a webhook away at the provider, whoever set it up. Its secret proves nothing from then on."""
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_webhooks

    with_rails(
        database_url,
        lambda services: provider_webhooks.unsubscribe(
            services, COMMAND_LINE, provider=provider, webhook_id=webhook_id
        ),
    )
    typer.echo(f"{webhook_id} is gone")


@provider_webhooks_app.command("rotate")
def webhooks_rotate(
    webhook_id: WebhookId,
    provider: Provider = "strike",
    overlap_seconds: Annotated[
        int, typer.Option(help="How long the old secret is accepted once the provider has the new one: 0 to 2592000.")
    ] = 86_400,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a webhook of ours a new secret. With --overlap-seconds 0, after a leak, the old one ends at once.

    Both are accepted until the provider has answered. If it does not, repeat the command: it goes on with the same
    secret.
    """
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_webhooks

    rotated = with_rails(
        database_url,
        lambda services: provider_webhooks.rotate_secret(
            services, COMMAND_LINE, provider=provider, webhook_id=webhook_id, overlap_s=overlap_seconds
        ),
    )
    typer.echo(_line(rotated))


@provider_webhooks_app.command("missed")
def events_missed(
    provider: Provider = "strike",
    since: Since = None,
    every: Annotated[bool | None, typer.Option("--all", help="Also what the provider could deliver.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=1_000)] = 100,
    database_url: DatabaseUrl = None,
) -> None:
    """List what happened and could not be told, the oldest first: when, id, type, delivery, entity, our state.

    `unheard` never reached us: `provider-webhooks catch-up` takes it in.
    """
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_events

    begin = _moment(since)
    found = with_rails(
        database_url,
        lambda services: provider_events.list_events(
            services, COMMAND_LINE, provider=provider, since=begin, undelivered_only=not every, limit=limit
        ),
    )
    for one in found:
        event, state = one.event, "unheard" if one.callback is None else one.callback.state
        moment = f"{event.created_at:%Y-%m-%d %H:%M:%S}"
        typer.echo(f"{moment}  {event.event_id}  {event.kind}  {event.delivery}  {event.entity or '-'}  {state}")
    typer.echo(f"{len(found)} at {provider}", err=True)


@provider_webhooks_app.command("catch-up")
def events_catch_up(provider: Provider = "strike", since: Since = None, database_url: DatabaseUrl = None) -> None:
    """Take in what happened since then as if it had been told. For after a downtime; safe at any time.

    Each event has one effect, whether it comes this way, as a notice, or both. A running server, or the next one that
    starts, then asks the provider about each, and books what the provider says.
    """
    from quittance.domain.access import COMMAND_LINE
    from quittance.resolvers import provider_events

    begin = _moment(since)

    async def all_of_it(services: "Services") -> tuple[int, int]:
        caught = await provider_events.catch_up(services, COMMAND_LINE, provider=provider, since=begin)
        seen, stored = caught.seen, caught.stored
        while caught.goes_on_at is not None and caught.goes_on_at > caught.since:
            caught = await provider_events.catch_up(services, COMMAND_LINE, provider=provider, since=caught.goes_on_at)
            seen, stored = seen + caught.seen, stored + caught.stored
        return seen, stored

    seen, stored = with_rails(database_url, all_of_it)
    typer.echo(f"{stored} new of {seen} events")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail("--since is a moment such as 2026-05-01T12:00:00Z")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _line(webhook: "ManagedWebhook") -> str:
    held, own = webhook.subscription, webhook.own
    whose = "foreign" if own is None else "ours"
    if own is not None and own.is_rotating:
        whose = "ours (rotating)"
    return f"{held.id}  {'on' if held.enabled else 'off'}  {whose}  {','.join(held.kinds)}  {held.url}"

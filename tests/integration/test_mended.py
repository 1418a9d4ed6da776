"""What once went wrong under a reader's eyes: each as a test of its own."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import InvoiceRejected, RateLimited, Unauthenticated
from quittance.domain.payment import PaymentStatus
from quittance.gql.context import Credentials
from quittance.gql.schema import schema
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.invoices import retry_payment
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.access import ADDRESS_BUDGET, ServerAccess
from quittance.server.limiter import MinuteLimiter
from quittance.server.runtime import StartRefused, open_runtime
from quittance.server.settings import SettingsError, load_settings
from quittance.store.migrate import upgrade_from_loop
from quittance.store.sqlite import DatabaseClosed, SqliteDatabase

CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } ... on UserError { code } }
}
"""
HIDE = "mutation ($id: ID!) { hideArticle(id: $id) { __typename } }"
PUBLISHED = 'subscription { articlePublished(after: "cDE6MA") { article { title summary } } }'
ARTICLE = "query ($id: ID!) { article(id: $id) { payment { checkoutUrl } manuscript } viewer { balances { value } } }"


async def article(till: Any) -> str:
    draft = {"title": "Secret plan", "content": "the text", "price": {"msat": "5000"}}
    made = await till.shop.mutate("createArticle", CREATE, {"input": draft})
    return str(made["article"]["id"])


def key(till: Any, *scopes: Scope) -> Principal:
    return Principal(merchant_id=till.shop.principal.merchant_id, scopes=frozenset(scopes))


async def test_an_article_hidden_since_shows_nothing_to_who_replays_its_publication(till: Any) -> None:
    await till.shop.run(HIDE, {"id": await article(till)})

    stream: Any = await schema.subscribe(PUBLISHED, None, till.shop.context(ANONYMOUS))
    first = await anext(stream)
    await stream.aclose()

    assert first.errors is None
    assert first.data == {"articlePublished": {"article": None}}


async def test_a_key_that_may_write_articles_reaches_no_client_secret_and_no_balance(till: Any) -> None:
    article_id = await article(till)
    made = await till.order(article_id=article_id)
    await till.report(await till.pay(made.payment.id))

    writer = await till.shop.run(ARTICLE, {"id": article_id}, as_=key(till, Scope.ARTICLES_WRITE))
    reader = await till.shop.run(ARTICLE, {"id": article_id}, as_=key(till, Scope.PAYMENTS_READ))
    both = key(till, Scope.PAYMENTS_READ, Scope.PAYMENTS_WRITE)
    till_s = await till.shop.run(ARTICLE, {"id": article_id}, as_=both)

    assert writer == {"article": {"payment": None, "manuscript": "the text"}, "viewer": {"balances": []}}
    assert reader["article"]["payment"]["checkoutUrl"] == f"{till.services.public_url}/pay/{made.payment.id}"
    assert made.client_secret in till_s["article"]["payment"]["checkoutUrl"]
    assert reader["article"]["manuscript"] is None
    assert reader["viewer"] == {"balances": [{"value": "5000"}]}


async def test_a_retry_that_the_node_rejects_ends_in_error_although_an_old_invoice_is_open(
    till: Any, clock: SandboxClock, rails: SandboxRails, lnd: LndProvider
) -> None:
    payment_id = (await till.order(expires_in_s=60)).payment.id
    clock.advance(60 + till.services.rules.expiry_grace_s + 1)
    await rails.faults.arm("lnd", "unavailable", method="LookupInvoice")
    await till.reconcile()

    class Rejecting:
        name, asset = lnd.name, lnd.asset

        def __getattr__(self, member: str) -> Any:
            return getattr(lnd, member)

        async def create_invoice(self, request: InvoiceRequest) -> Invoice:
            raise InvoiceRejected(request.description, "no")

    rejecting = replace(till.services, rails={"lnd": Rejecting()}, making={})
    with pytest.raises(InvoiceRejected):
        await retry_payment(rejecting, till.shop.principal, payment_id)
    rejected = (await till.payment(payment_id)).status
    again = await retry_payment(till.services, till.shop.principal, payment_id)

    assert rejected is PaymentStatus.ERROR
    assert again.status is PaymentStatus.PENDING_PAYMENT


async def test_a_retry_asks_only_for_what_is_missing(till: Any, clock: SandboxClock) -> None:
    payment_id = (await till.order(expires_in_s=60)).payment.id
    await till.report(await till.money(payment_id, amount_msat=4_000))
    clock.advance(60 + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()
    expired = (await till.payment(payment_id)).status

    await retry_payment(till.services, till.shop.principal, payment_id)

    assert expired is PaymentStatus.EXPIRED
    assert [option.amount.value for option in await till.options(payment_id)] == [5_000, 1_000]
    await till.report(await till.pay(payment_id))
    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_guessing_keys_uses_up_the_address(till: Any) -> None:
    services = replace(till.services, limiter=MinuteLimiter({ADDRESS_BUDGET: 3}))
    access = ServerAccess(services, till.shop.broker, key_used=lambda _: None)
    wrong = Credentials(authorization="Bearer guess", address="203.0.113.9")

    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await access.authenticate(wrong)
    with pytest.raises(RateLimited) as refusal:
        await access.authenticate(wrong)

    assert 1 <= refusal.value.retry_after_s <= 60
    assert "guess" not in repr(wrong)


async def test_nobody_waits_for_a_writer_that_has_ended(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "quittance.db", append_events=lambda _: None)
    await database.close()

    with pytest.raises(DatabaseClosed):
        async with asyncio.timeout(5):
            await database.write(lambda _: None)


async def test_a_database_file_may_have_any_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'money'}"
    settings = load_settings(state_dir=tmp_path, database_url=url)
    await upgrade_from_loop(url)

    async with asyncio.timeout(20), open_runtime(settings, loops=False) as runtime:
        assert (await runtime.services.rails["lnd"].health()).ready


async def test_no_process_starts_on_a_node_of_another_network(tmp_path: Path, rails: SandboxRails) -> None:
    where = rails.lnd
    settings = load_settings(
        state_dir=tmp_path,
        lnd_address=where.address,
        lnd_tls_cert_path=where.tls_cert_path,
        lnd_macaroon_path=where.macaroon_path,
        lnd_network="mainnet",
    )
    await upgrade_from_loop(settings.database_url)

    with pytest.raises(StartRefused, match="the node is on bitcoin regtest, we are set to bitcoin mainnet"):
        async with open_runtime(settings, loops=False):
            pass


def test_a_real_node_goes_with_no_sandbox(tmp_path: Path, sqlite_template: Path) -> None:
    with pytest.raises(SettingsError, match="QUITTANCE_SANDBOX its clock and its key do not go with a real node"):
        load_settings(
            sandbox=True,
            lnd_address="localhost:10009",
            lnd_tls_cert_path=sqlite_template,
            lnd_macaroon_path=sqlite_template,
            state_dir=tmp_path,
        )

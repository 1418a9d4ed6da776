"""S1: neither the database in clear, nor a repr, nor an answer to a stranger holds a secret."""

import base64
import json
from typing import Any

from tests.integration.holding import Holder
from tests.integration.test_providers import payer_of
from tests.integration.webhook_post import ROTATE_NOTIFY, STATUS, Post
from tests.integration.webhook_receiver import Receiver

from quittance.domain.access import ANONYMOUS, Scope
from quittance.providers.base import InvoiceRequest
from quittance.resolvers.keys import create_key
from quittance.sandbox.rails import SandboxRails
from quittance.store.merchants import merchant_by_id
from quittance.store.models import Row

KEY = "a-bootstrap-key"


async def told(till: Any) -> tuple[list[str], Any]:
    """Live a full story; return every secret in it as text, in each form that it could have, and the order."""
    created = await _key(till)
    made = await till.order(idempotency_key="k", description="a book", refund_address=till.rails.address_of("bob"))
    await till.report(await till.pay(made.payment.id))
    option = (await till.options(made.payment.id))[0]
    preimage = till.services.derive.preimage(option.id)
    macaroon = till.rails.lnd.macaroon_path.read_bytes()
    assert till.rails.lnd.spend_macaroon_path is not None
    spending = till.rails.lnd.spend_macaroon_path.read_bytes()
    held = await Holder(till).held()
    await Holder(till).capture(held)
    taken = till.services.derive.preimage((await till.options(held))[0].id)
    secrets = [KEY, created, made.client_secret, made.client_secret.rpartition("_")[2]]
    for raw in (preimage, taken, macaroon, spending, b"a secret key of the tests, 32 bytes"):
        secrets += [raw.hex(), repr(raw)[2:-1]]
    return secrets, made


async def test_s1_no_table_holds_a_secret_in_clear(till: Any) -> None:
    secrets, made = await told(till)

    rows = [row for table in Row.metadata.tables for row in await till.rows(table)]
    dump = "\n".join(
        f"{value!r} {value.hex() if isinstance(value, bytes) else ''}" for row in rows for value in row.values()
    )

    assert made.payment.id in dump
    assert "COMPLETE" in dump
    assert [secret for secret in secrets if secret in dump] == []


async def test_s1_no_repr_shows_a_secret(till: Any, lnd: Any) -> None:
    secrets, made = await told(till)
    payer = payer_of(till.rails, "merchant")
    option = (await till.options(made.payment.id))[0]
    request = InvoiceRequest(
        amount=option.amount,
        description="a book",
        expires_in_s=60,
        preimage=till.services.derive.preimage(option.id),
    )
    context = till.shop.context()

    told_of = (till.services, request, lnd, lnd.__dict__, payer, payer.__dict__, context, till.services.derive, option)
    shown = " ".join(f"{one!r} {one}" for one in told_of)

    await payer.aclose()
    assert "a book" in shown
    assert [secret for secret in secrets if secret in shown] == []


async def test_s1_a_payment_is_answered_without_its_preimage(till: Any, rails: SandboxRails) -> None:
    secrets, made = await told(till)
    document = """query ($id: ID!, $secret: String) { payment(id: $id, clientSecret: $secret) {
        id status statusReason paymentRequest paymentHash description correlationId refundAddress
        options { id provider state ... on LightningOption { paymentRequest paymentHash } }
        events { edges { node { eventId cursor type } } } } }"""

    variables = {"id": made.payment.id, "secret": made.client_secret}
    answer = json.dumps(await till.shop.run(document, variables, as_=ANONYMOUS))

    assert made.payment.id in answer
    assert [secret for secret in secrets if secret in answer] == []


async def test_s1_a_notify_secret_is_in_the_answer_that_shows_it_and_nowhere_else(
    post: Post, receiver: Receiver
) -> None:
    shop, services = post.till.shop, post.till.services
    shown = [await post.notify_secret(60), await post.notify_secret(60)]
    refused = await shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": 60})
    made = await post.till.order(notify_url=f"{receiver.url}?token=t0k3n")
    await post.till.report(await post.till.money(made.payment.id))
    await post.tell()
    merchant = await services.database.read(lambda t: merchant_by_id(t, shop.principal.merchant_id))

    rows = [row for table in Row.metadata.tables for row in await post.till.rows(table)]
    sent = [[received.headers, received.body] for received in receiver.received]
    answers = [refused, await shop.run(STATUS, {"id": made.payment.id}), await post.deliveries()]
    told = "\n".join(repr(one) for one in (rows, sent, answers, services, merchant, made))
    secrets = [text for secret in shown for text in _forms_of(secret)]

    assert f"{receiver.url}?token=t0k3n" in told  # stored as it was given, and shown to the merchant
    assert len(receiver.received) == 3
    assert len(set(secrets)) == 8
    assert [secret for secret in secrets if secret in told] == []
    assert "t0k3n" not in repr(made)


def _forms_of(shown: str) -> list[str]:
    raw = base64.b64decode(shown.removeprefix("whsec_"))
    return [shown, shown.removeprefix("whsec_"), raw.hex(), repr(raw)[2:-1]]


async def _key(till: Any) -> str:
    merchant_id = till.shop.principal.merchant_id
    return (await create_key(till.services, merchant_id=merchant_id, name="k", scopes=[Scope.ADMIN])).secret

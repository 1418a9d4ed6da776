"""Who sees what: two merchants, holders of client secrets, forgers and nobody in particular."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from unittest.mock import ANY

import pytest
from tests.integration.webhook_post import AGAIN, DELIVERIES, Post
from tests.integration.webhook_receiver import Receiver

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import PermissionDenied, QuittanceError, Unauthenticated
from quittance.domain.ids import PaymentId
from quittance.gql.schema import schema
from quittance.resolvers.access import authenticate, still_valid
from quittance.resolvers.keys import create_key, revoke_key
from quittance.resolvers.merchants import create_merchant
from quittance.resolvers.payments import list_payments

ARTICLE = "id title status locked content manuscript payment { id }"
CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } ... on UserError { code } }
}
"""
READ = """
query ($article: ID!, $payment: ID!, $secret: String, $key: String!) {
  article(id: $article) { ARTICLE }
  articleNode: node(id: $article) { ... on Article { ARTICLE } }
  payment(id: $payment, clientSecret: $secret) {
    id status article { ARTICLE } options { id } events { totalCount }
  }
  paymentNode: node(id: $payment) { ... on Payment { id } }
  paymentByIdempotencyKey(key: $key) { id }
}
""".replace("ARTICLE", ARTICLE)
LISTS = """
query ($article: ID!) {
  payments(first: 100) { totalCount edges { node { id } } }
  ofArticle: payments(filter: {articleId: $article}) { totalCount edges { node { id } } }
  articles(first: 100) { totalCount edges { node { id content manuscript payment { id } } } }
}
"""
ENDS = """
mutation ($payment: ID!, $article: ID!) {
  checkPayment(id: $payment) { __typename }
  cancelPayment(id: $payment) { __typename }
  retryPayment(id: $payment) { __typename }
  updateArticle(input: {id: $article, title: "stolen"}) { __typename }
  hideArticle(id: $article) { __typename }
  generateInvoice(input: {articleId: $article}) { __typename }
}
"""
BY_KEY = "query ($key: String!) { paymentByIdempotencyKey(key: $key) { id } }"
SETTLED = """
subscription ($payment: ID, $secret: String, $article: ID, $after: String) {
  paymentSettled(paymentId: $payment, clientSecret: $secret, articleId: $article, after: $after) {
    payment { id article { content } }
  }
}
"""
UPDATED = """
subscription ($payment: ID, $secret: String, $after: String) {
  paymentUpdated(paymentId: $payment, clientSecret: $secret, after: $after) { payment { id } }
}
"""
TOLD = """
query ($delivery: ID!, $payment: ID!, $secret: String) {
  node(id: $delivery) { id ... on WebhookDelivery { url } }
  payment(id: $payment, clientSecret: $secret) { deliveryStatus deliveries { totalCount edges { node { url } } } }
}
"""
WATCHED = "subscription ($after: String!) { webhookDelivered(after: $after) { payment: delivery { id } } }"
FROM_THE_START = "cDE6MA"


async def new_article(till: Any, **more: Any) -> str:
    draft = {"title": "T", "content": "the text", "price": {"msat": "5000"}} | more
    made = await till.shop.mutate("createArticle", CREATE, {"input": draft})
    return str(made["article"]["id"])


async def bought(till: Any, article_id: str) -> Any:
    made = await till.order(article_id=article_id, idempotency_key="k")
    await till.report(await till.pay(made.payment.id))
    return made


async def ask(
    till: Any, document: str, variables: dict[str, Any], as_: Principal | None = None
) -> tuple[Any, list[str]]:
    """Return the data, and the codes of the errors."""
    result = await schema.execute(document, variables, till.shop.context(as_))
    codes = [
        error.original_error.code if isinstance(error.original_error, QuittanceError) else repr(error.original_error)
        for error in result.errors or []
    ]
    return result.data, codes


async def watch(
    till: Any, document: str, variables: dict[str, Any], as_: Principal | None = None, *, least: int = 0
) -> list[Any]:
    """Return what a subscription sends, at least so much and soon after, or the error that it ends with."""
    stream: Any = await schema.subscribe(document, variables, till.shop.context(as_))
    if not isinstance(stream, AsyncGenerator) and not hasattr(stream, "__anext__"):
        return [type(stream.errors[0].original_error).__name__]
    seen: list[Any] = []
    try:
        async with asyncio.timeout(10 if least else 0.2) as patience:
            async for result in stream:
                if result.errors:
                    return [type(result.errors[0].original_error).__name__]
                seen.append(next(iter(result.data.values()))["payment"]["id"])
                if len(seen) == least:
                    patience.reschedule(asyncio.get_running_loop().time() + 0.1)
    except TimeoutError:
        pass
    return seen


async def refused(till: Any, document: str, variables: dict[str, Any], as_: Principal | None = None) -> str:
    """Return the error that a subscription ends with, however long it takes."""
    (error,) = await watch(till, document, variables, as_, least=1)
    return str(error)


async def test_another_merchant_sees_nothing_and_changes_nothing(till: Any, other_shop: Any) -> None:
    article_id = await new_article(till)
    hidden_id = await new_article(till, status="HIDDEN")
    made = await bought(till, article_id)
    open_payment = await till.order()
    theirs = till.of(other_shop)
    where = {"article": article_id, "payment": made.payment.id, "key": "k"}

    own, _ = await ask(till, READ, where)
    seen, codes = await ask(theirs, READ, where)
    lists, _ = await ask(theirs, LISTS, {"article": article_id})
    hidden, _ = await ask(theirs, READ, where | {"article": hidden_id})
    ends, _ = await ask(theirs, ENDS, {"payment": open_payment.payment.id, "article": article_id})

    assert own["payment"]["id"] == own["paymentNode"]["id"] == own["paymentByIdempotencyKey"]["id"] == made.payment.id
    assert own["article"]["content"] == own["article"]["manuscript"] == "the text"
    public = {"id": article_id, "title": "T", "status": "VISIBLE", "locked": True, "content": None}
    assert codes == []
    assert seen == {
        "article": public | {"manuscript": None, "payment": None},
        "articleNode": public | {"manuscript": None, "payment": None},
        "payment": None,
        "paymentNode": None,
        "paymentByIdempotencyKey": None,
    }
    assert lists["payments"] == lists["ofArticle"] == {"totalCount": 0, "edges": []}
    assert lists["articles"] == {
        "totalCount": 1,
        "edges": [{"node": {"id": article_id, "content": None, "manuscript": None, "payment": None}}],
    }
    assert (hidden["article"], hidden["articleNode"]) == (None, None)
    assert {field: answer["__typename"] for field, answer in ends.items()} == {
        "checkPayment": "PaymentNotFoundError",
        "cancelPayment": "PaymentNotFoundError",
        "retryPayment": "PaymentNotFoundError",
        "updateArticle": "ArticleNotFoundError",
        "hideArticle": "ArticleNotFoundError",
        "generateInvoice": "ArticleNotFoundError",
    }
    assert (await till.payment(open_payment.payment.id)).status == "PENDING_PAYMENT"
    assert {(row["title"], row["status"]) for row in await till.rows("article")} == {("T", "VISIBLE"), ("T", "HIDDEN")}


async def test_what_is_told_to_a_payment_s_own_address_is_seen_and_sent_again_by_its_merchant_alone(
    post: Post, receiver: Receiver, other_shop: Any
) -> None:
    receiver.answers = ["410 Gone"]
    made = await post.till.order(notify_url=f"{receiver.url}?token=t0k3n")
    await post.tell()
    failed = next(one for one in await post.deliveries() if one["state"] == "FAILED")
    theirs = post.till.of(other_shop)
    asked = {"delivery": failed["id"], "payment": made.payment.id, "secret": made.client_secret}
    reader = Principal(merchant_id=post.till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ}))

    own, _ = await ask(post.till, TOLD, asked)
    seen = [(await ask(post.till, TOLD, asked, who))[0] for who in (other_shop.principal, reader, ANONYMOUS)]
    listed = await theirs.shop.run(DELIVERIES, {"filter": {"paymentId": made.payment.id}})
    again = await theirs.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    watched = await watch(theirs, WATCHED, {"after": FROM_THE_START})
    await post.tell()

    assert own["node"]["url"] == f"{receiver.url}?token=t0k3n"
    assert own["payment"]["deliveries"]["totalCount"] == 2
    nothing = {"deliveryStatus": "NONE", "deliveries": {"totalCount": 0, "edges": []}}
    assert seen == [{"node": None, "payment": nothing}] * 3
    assert listed["webhookDeliveries"] == {"totalCount": 0, "edges": []}
    assert again["code"] == "WEBHOOK_DELIVERY_NOT_FOUND"
    assert watched == []
    assert len(await watch(post.till, WATCHED, {"after": FROM_THE_START}, least=2)) == 2
    assert len(receiver.received) == 2


async def test_subscriptions_are_fenced_by_merchant_payment_and_secret(till: Any, other_shop: Any) -> None:
    article_id = await new_article(till)
    made = await bought(till, article_id)
    other = await till.order()
    await till.report(await till.pay(other.payment.id))
    theirs = till.of(other_shop)
    replay = {"after": FROM_THE_START}
    holder = Principal(payment_id=made.payment.id)
    mine, its = made.payment.id, other.payment.id

    assert await watch(till, SETTLED, replay, least=2) == [mine, its]
    assert await watch(till, SETTLED, replay | {"article": article_id}, least=1) == [mine]
    assert await watch(till, SETTLED, replay | {"article": "\x00"}) == []
    assert await watch(theirs, SETTLED, replay) == []
    assert await watch(theirs, SETTLED, replay | {"article": article_id}) == []
    assert await refused(theirs, SETTLED, replay | {"payment": mine}) == "PaymentNotFound"
    assert await watch(theirs, UPDATED, replay) == []
    assert await refused(till, SETTLED, replay, ANONYMOUS) == "PermissionDenied"
    assert await refused(till, UPDATED, replay, ANONYMOUS) == "PermissionDenied"
    assert await watch(till, SETTLED, replay | {"secret": made.client_secret}, ANONYMOUS, least=1) == [mine]
    of_another = replay | {"secret": made.client_secret, "payment": its}
    assert await refused(till, SETTLED, of_another, ANONYMOUS) == "PaymentNotFound"
    assert await refused(till, SETTLED, replay | {"payment": mine}, ANONYMOUS) == "PaymentNotFound"
    assert await refused(till, SETTLED, replay | {"secret": made.client_secret + "0"}, ANONYMOUS) == "Unauthenticated"
    assert await watch(till, SETTLED, replay, holder, least=1) == [mine]
    assert await refused(till, SETTLED, replay | {"payment": its}, holder) == "PaymentNotFound"
    assert await watch(till, UPDATED, replay, holder, least=3) == [mine] * 3


async def test_a_client_secret_opens_its_payment_and_what_it_bought_and_nothing_else(till: Any) -> None:
    article_id, other_id = await new_article(till), await new_article(till)
    made = await till.order(article_id=article_id, idempotency_key="k")
    other = await till.order(article_id=other_id)
    holder = await authenticate(till.services, authorization=None, client_secret=made.client_secret)

    async def read(payment: Any, article: str, secret: str | None, as_: Principal) -> Any:
        variables = {"article": article, "payment": payment.payment.id, "secret": secret, "key": "k"}
        data, codes = await ask(till, READ, variables, as_)
        assert codes == (["PERMISSION_DENIED"] if codes else [])
        return data

    before = await read(made, article_id, None, holder)
    await till.report(await till.pay(made.payment.id))
    after = await read(made, article_id, None, holder)
    by_secret = await read(made, article_id, made.client_secret, ANONYMOUS)
    of_other = await read(other, other_id, made.client_secret, ANONYMOUS)
    held_other = await read(other, other_id, None, holder)

    assert (before["payment"]["article"]["content"], before["article"]["locked"]) == (None, True)
    assert (after["payment"]["article"]["content"], after["article"]["content"]) == ("the text", "the text")
    assert after["article"]["manuscript"] is None
    assert by_secret["payment"]["article"]["content"] == "the text"
    assert by_secret["article"]["content"] is None  # the secret was shown for the payment, not for the whole request
    assert by_secret["paymentNode"] is None
    for found in (of_other, held_other):
        assert (found["payment"], found["paymentNode"]) == (None, None)
        assert (found["article"]["content"], found["article"]["payment"]) == (None, None)


async def test_an_upvote_does_not_open_the_article(till: Any) -> None:
    from quittance.domain.payment import PaymentPurpose

    article_id = await new_article(till)
    made = await till.order(article_id=article_id, purpose=PaymentPurpose.UPVOTE)
    await till.report(await till.pay(made.payment.id))

    holder = Principal(payment_id=made.payment.id)
    data, _ = await ask(till, READ, {"article": article_id, "payment": made.payment.id, "key": "k"}, holder)

    assert data["payment"]["status"] == "COMPLETE"
    assert data["payment"]["article"]["content"] is None
    assert data["article"]["content"] is None
    assert [(row["views"], row["upvotes"]) for row in await till.rows("article")] == [(0, 1)]


@pytest.mark.parametrize("secret", ["", "x", "\x00", "\ud800", "pay_\x00_secret_", "_secret_", "é"])
async def test_a_forged_secret_or_key_is_unauthenticated_whatever_it_holds(till: Any, secret: str) -> None:
    made = await till.order()
    forged = [secret, made.client_secret[:-1] + secret, f"{made.payment.id}_secret_{secret}"]

    for one in forged:
        with pytest.raises(Unauthenticated):
            await authenticate(till.services, authorization=None, client_secret=one)
        for authorization in (
            f"Bearer {one}",
            one,
            f"Basic {one}",
            f"Bearer {one * 200}",
            "Bearer a-bootstrap-ke" + one,
        ):
            with pytest.raises(Unauthenticated):
                await authenticate(till.services, authorization=authorization, client_secret=None)
        variables = {"article": secret, "payment": made.payment.id, "secret": one, "key": secret}
        data, codes = await ask(till, READ, variables, ANONYMOUS)
        assert codes == ["PERMISSION_DENIED"]
        assert (data["payment"], data["article"], data["articleNode"]) == (None, None, None)


@pytest.mark.parametrize("foreign", ["", "\x00", "\ud800", "pay_\x00", "art_" + "0" * 32, "' OR 1=1 --", "x" * 10_000])
async def test_a_stranger_s_id_is_absent_for_everybody(till: Any, foreign: str) -> None:
    data, codes = await ask(till, READ, {"article": foreign, "payment": foreign, "key": foreign, "secret": foreign})
    ends, end_codes = await ask(till, ENDS, {"payment": foreign, "article": foreign})
    listed = await list_payments(
        till.services, till.shop.principal, narrowed=_narrowed(foreign), after_id=None, limit=5
    )

    assert codes == end_codes == []
    assert set(data.values()) == {None}
    assert {answer["__typename"] for answer in ends.values()} == {"PaymentNotFoundError", "ArticleNotFoundError"}
    assert listed == []


async def test_anonymous_reads_what_everybody_may_and_lists_no_payment(till: Any) -> None:
    article_id = await new_article(till)
    hidden_id = await new_article(till, status="HIDDEN")

    articles, _ = await ask(till, "{ articles { totalCount edges { node { id locked content } } } }", {}, ANONYMOUS)
    payments, codes = await ask(till, "{ payments { totalCount } }", {}, ANONYMOUS)
    _, key_codes = await ask(till, BY_KEY, {"key": "k"}, ANONYMOUS)
    ends, _ = await ask(till, ENDS, {"payment": "pay_" + "0" * 32, "article": article_id}, ANONYMOUS)

    assert articles["articles"] == {
        "totalCount": 1,
        "edges": [{"node": {"id": article_id, "locked": True, "content": None}}],
    }
    assert hidden_id not in str(articles)
    assert (payments, codes, key_codes) == (None, ["PERMISSION_DENIED"], ["PERMISSION_DENIED"])
    assert {field: answer["__typename"] for field, answer in ends.items()} == {
        "checkPayment": "PaymentNotFoundError",
        "cancelPayment": "PermissionDeniedError",
        "retryPayment": "PermissionDeniedError",
        "updateArticle": "PermissionDeniedError",
        "hideArticle": "PermissionDeniedError",
        "generateInvoice": "GenerateInvoiceSuccess",
    }
    assert [(row["viewer"], row["purpose"]) for row in await till.rows("payment")] == [(ANY, "VIEW")]


async def test_a_hidden_article_stays_readable_to_who_bought_it_and_is_sold_to_nobody(till: Any) -> None:
    article_id = await new_article(till)
    made = await bought(till, article_id)
    await till.shop.run("mutation ($id: ID!) { hideArticle(id: $id) { __typename } }", {"id": article_id})

    variables = {"article": article_id, "payment": made.payment.id, "secret": made.client_secret, "key": "k"}
    held, _ = await ask(till, READ, variables, Principal(payment_id=made.payment.id))
    sale = await till.shop.mutate(
        "generateInvoice",
        "mutation ($id: ID!) { generateInvoice(input: {articleId: $id}) { __typename } }",
        {"id": article_id},
    )

    assert held["payment"]["article"]["content"] == "the text"
    assert held["article"]["content"] == "the text"
    assert sale == {"__typename": "ArticleHiddenError"}


async def test_a_revoked_key_is_nobody_at_once(till: Any) -> None:
    merchant = (await create_merchant(till.services, name="Third shop")).merchant
    created = await create_key(till.services, merchant_id=merchant.id, name="reader", scopes=[Scope.PAYMENTS_READ])
    principal = await authenticate(till.services, authorization=f"bearer  {created.secret} ", client_secret=None)
    assert await still_valid(till.services, principal)

    revoked = await revoke_key(till.services, created.key.id)

    assert (revoked, await revoke_key(till.services, created.key.id)) == (True, False)
    assert not await still_valid(till.services, principal)
    with pytest.raises(Unauthenticated):
        await authenticate(till.services, authorization=f"Bearer {created.secret}", client_secret=None)


async def test_a_key_does_only_what_its_scopes_say(till: Any) -> None:
    reader = Principal(merchant_id=till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ}))
    made = await till.order()

    seen, codes = await ask(till, LISTS, {"article": "x"}, reader)
    ends, _ = await ask(till, ENDS, {"payment": made.payment.id, "article": "x"}, reader)

    assert codes == []
    assert [edge["node"]["id"] for edge in seen["payments"]["edges"]] == [made.payment.id]
    assert [answer["__typename"] for answer in ends.values()] == ["CheckPaymentSuccess"] + ["PermissionDeniedError"] * 5
    writer = Principal(merchant_id=till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_WRITE}))
    with pytest.raises(PermissionDenied):
        await list_payments(till.services, writer, narrowed=_narrowed("x"), after_id=None, limit=5)
    assert (await till.payment(PaymentId(made.payment.id))).status == "PENDING_PAYMENT"


def _narrowed(text: str) -> Any:
    from quittance.domain.payment import PaymentFilter

    return PaymentFilter(correlation_id=text)

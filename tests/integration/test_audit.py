"""The audit log: every change has its entry, no change has two, nobody else reads it, and no secret is in it."""

import json
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy.exc

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.errors import QuittanceError
from quittance.domain.ids import BOOTSTRAP_MERCHANT, IdSequence
from quittance.domain.payment import PaymentStatus
from quittance.gql.schema import schema
from quittance.resolvers.access import authenticate
from quittance.resolvers.audit import record
from quittance.resolvers.keys import create_key, revoke_key, rotate_key
from quittance.resolvers.merchants import create_merchant
from quittance.resolvers.payments import cancel_payment
from quittance.sandbox.clock import SandboxClock

LOG = """
query ($first: Int, $after: String, $filter: AuditLogFilter) {
  auditLog(first: $first, after: $after, filter: $filter) {
    totalCount
    edges { cursor node { id actorId actorName action subjectId detail at } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}
"""
CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } ... on UserError { code } }
}
"""
UPDATE = "mutation ($input: UpdateArticleInput!) { updateArticle(input: $input) { __typename } }"
HIDE = "mutation ($id: ID!) { hideArticle(id: $id) { __typename } }"
CANCEL = "mutation ($id: ID!) { cancelPayment(id: $id) { __typename } }"
NEW_MERCHANT = """
mutation ($name: String!) { createMerchant(input: {name: $name}) {
  ... on CreateMerchantSuccess { merchant { id } apiKey { id } secret } } }
"""
CHANGE_MERCHANT = "mutation ($input: UpdateMerchantInput!) { updateMerchant(input: $input) { __typename } }"
NEW_KEY = """
mutation ($name: String!) { createApiKey(input: {name: $name, scopes: ["payments:write", "payments:read"]}) {
  ... on CreateApiKeySuccess { apiKey { id } secret } } }
"""
REVOKE = "mutation ($id: ID!) { revokeApiKey(id: $id) { __typename } }"
ROTATE = """
mutation ($id: ID!) { rotateApiKey(id: $id, overlapSeconds: 60) {
  ... on RotateApiKeySuccess { apiKey { id revokedAt } secret } } }
"""
ARTICLE = {"title": "T", "content": "the text", "price": {"msat": "5000"}}
COMMAND_LINE = "command line"


class Log:
    """Does something a second after what was done before, and tells what the log says of it."""

    def __init__(self, shop: Any, clock: SandboxClock) -> None:
        self.shop = shop
        self.clock = clock

    async def read(self, as_: Principal | None = None, **variables: Any) -> Any:
        return (await self.shop.run(LOG, variables, as_=as_))["auditLog"]

    async def entries(self, as_: Principal | None = None, **variables: Any) -> list[tuple[str, str, str | None]]:
        nodes = [edge["node"] for edge in (await self.read(as_, **variables))["edges"]]
        return [(node["action"], node["subjectId"], node["detail"]) for node in nodes]

    async def told(self, field: str, document: str, variables: Any, **more: Any) -> Any:
        """Return the answer of a mutation, and what it added to the log, the newest first."""
        before = (await self.read())["totalCount"]
        self.clock.advance(1)
        answer = await self.shop.mutate(field, document, variables, **more)
        after = await self.entries()
        return answer, after[: len(after) - before]


@pytest.fixture
def log(shop: Any, clock: SandboxClock) -> Log:
    return Log(shop, clock)


async def test_what_is_done_with_articles_is_written_down(log: Log) -> None:
    made, created = await log.told("createArticle", CREATE, {"input": ARTICLE})
    article_id = made["article"]["id"]
    change = {"id": article_id, "title": "U", "content": "another text", "price": {"msat": "5000"}, "summary": "S"}
    _, updated = await log.told("updateArticle", UPDATE, {"input": change})
    _, hidden = await log.told("hideArticle", HIDE, {"id": article_id})
    _, same = await log.told("hideArticle", HIDE, {"id": article_id})

    assert created == [("ARTICLE_CREATED", article_id, None)]
    assert updated == [("ARTICLE_UPDATED", article_id, "title, summary, content")]
    assert hidden == [("ARTICLE_UPDATED", article_id, "status: HIDDEN")]
    assert same == [("ARTICLE_UPDATED", article_id, None)]


async def test_a_canceled_payment_is_written_down_once(log: Log, till: Any) -> None:
    payment_id = (await till.order()).payment.id

    _, first = await log.told("cancelPayment", CANCEL, {"id": payment_id})
    again, second = await log.told("cancelPayment", CANCEL, {"id": payment_id})

    assert first == [("PAYMENT_CANCELED", payment_id, None)]
    assert (again["__typename"], second) == ("CancelPaymentSuccess", [])


async def test_what_is_done_with_keys_is_written_down_once(log: Log) -> None:
    made, created = await log.told("createApiKey", NEW_KEY, {"name": "till"})
    key_id = made["apiKey"]["id"]
    new, rotated = await log.told("rotateApiKey", ROTATE, {"id": key_id})
    until = log.clock.now().timestamp() + 60
    _, revoked = await log.told("revokeApiKey", REVOKE, {"id": new["apiKey"]["id"]})
    _, again = await log.told("revokeApiKey", REVOKE, {"id": new["apiKey"]["id"]})
    _, refused = await log.told("rotateApiKey", ROTATE, {"id": key_id})

    assert created == [("API_KEY_CREATED", key_id, "till: payments:read, payments:write")]
    assert [entry[:2] for entry in rotated] == [("API_KEY_ROTATED", key_id)]
    told, _, lapses = rotated[0][2].partition(", works until ")
    assert told == f"till: replaced by {new['apiKey']['id']}"
    assert abs(_seconds(lapses) - until) < 5
    assert revoked == [("API_KEY_REVOKED", new["apiKey"]["id"], "till")]
    assert (again, refused) == ([], [])


async def test_a_changed_merchant_is_written_down_with_what_was_and_what_is(log: Log) -> None:
    policy = {"late": "REFUND", "lateGraceSeconds": 10, "under": "WAIT", "over": "REFUND"}
    given = {"id": BOOTSTRAP_MERCHANT, "name": "Renamed", "policy": policy}

    _, changed = await log.told("updateMerchant", CHANGE_MERCHANT, {"input": given})
    answer, again = await log.told("updateMerchant", CHANGE_MERCHANT, {"input": given})

    detail = "name: Shop -> Renamed; late: ACCEPT -> REFUND; lateGraceSeconds: 300 -> 10; over: KEEP -> REFUND"
    assert changed == [("MERCHANT_UPDATED", BOOTSTRAP_MERCHANT, detail)]
    assert (answer["__typename"], again) == ("UpdateMerchantSuccess", [])


async def test_what_the_operator_does_to_a_merchant_stands_in_both_their_logs(log: Log) -> None:
    made, created = await log.told("createMerchant", NEW_MERCHANT, {"name": "Books"})
    theirs, first_key = made["merchant"]["id"], made["apiKey"]["id"]
    _, changed = await log.told("updateMerchant", CHANGE_MERCHANT, {"input": {"id": theirs, "name": "Novels"}})
    principal = await authenticate(log.shop.services, authorization=f"Bearer {made['secret']}", client_secret=None)
    _, own = await log.told("createApiKey", NEW_KEY, {"name": "till"}, as_=principal)

    seen = (await log.read(principal))["edges"]
    actions = {
        ("MERCHANT_CREATED", theirs, "Books"),
        ("API_KEY_CREATED", first_key, "first key: admin"),
    }
    assert set(created) == actions
    assert changed == [("MERCHANT_UPDATED", theirs, "name: Books -> Novels")]
    assert own == []
    assert {tuple(edge["node"][name] for name in ("action", "subjectId", "detail")) for edge in seen[1:]} == {
        *actions,
        *changed,
    }
    assert (seen[0]["node"]["action"], seen[0]["node"]["actorId"]) == ("API_KEY_CREATED", first_key)
    assert {(edge["node"]["actorId"], edge["node"]["actorName"]) for edge in seen[1:]} == {
        (log.shop.principal.key_id, "bootstrap")
    }


async def test_what_the_command_line_does_is_written_down_as_its_doing(log: Log) -> None:
    services = log.shop.services
    made = await create_merchant(services, name="Books")
    key = (await create_key(services, merchant_id=made.merchant.id, name="till", scopes=["admin"])).key
    successor = (await rotate_key(services, key.id, overlap_s=0)).key
    await revoke_key(services, successor.id)
    await revoke_key(services, successor.id)
    principal = Principal(merchant_id=made.merchant.id, scopes=frozenset({Scope.ADMIN}))

    theirs = [edge["node"] for edge in (await log.read(principal))["edges"]]
    operators = [edge["node"] for edge in (await log.read())["edges"]]

    assert {(node["actorId"], node["actorName"]) for node in theirs + operators} == {(COMMAND_LINE, COMMAND_LINE)}
    assert sorted((node["action"], node["subjectId"]) for node in theirs) == sorted(
        [
            ("MERCHANT_CREATED", made.merchant.id),
            ("API_KEY_CREATED", made.first.key.id),
            ("API_KEY_CREATED", key.id),
            ("API_KEY_ROTATED", key.id),
            ("API_KEY_REVOKED", successor.id),
        ]
    )
    assert {(node["action"], node["subjectId"]) for node in operators} == {
        ("MERCHANT_CREATED", BOOTSTRAP_MERCHANT),
        ("API_KEY_CREATED", log.shop.principal.key_id),
    }


async def test_what_was_refused_is_not_in_the_log(log: Log, other_shop: Any) -> None:
    made = await log.shop.mutate("createArticle", CREATE, {"input": ARTICLE})
    article_id = made["article"]["id"]
    before = await log.entries()

    for variables in ({"id": article_id, "title": " "}, {"id": "art_0", "title": "U"}, {"id": article_id}):
        await log.shop.mutate("updateArticle", UPDATE, {"input": variables})
    await other_shop.mutate("updateArticle", UPDATE, {"input": {"id": article_id, "title": "stolen"}})
    await other_shop.mutate("createMerchant", NEW_MERCHANT.replace("... on", "__typename ... on", 1), {"name": "X"})
    await log.shop.mutate("createArticle", CREATE, {"input": ARTICLE | {"title": "\x00"}})
    await log.shop.mutate("cancelPayment", CANCEL, {"id": "pay_0"})

    assert await log.entries() == before
    assert len(before) == 3


async def test_a_change_whose_entry_cannot_be_written_is_not_made(till: Any, clock: SandboxClock) -> None:
    one, other = (await till.order()).payment.id, (await till.order()).payment.id
    frozen = clock.now()

    def repeating() -> Any:
        """Return services that give the same ids again each time."""
        return replace(till.services, entropy=bytes, now=lambda: frozen, ids=IdSequence())

    await cancel_payment(repeating(), till.shop.principal, one)

    with pytest.raises((sqlite3.IntegrityError, sqlalchemy.exc.IntegrityError)):
        await cancel_payment(repeating(), till.shop.principal, other)

    assert (await till.payment(one)).status is PaymentStatus.CANCELED
    assert (await till.payment(other)).status is PaymentStatus.PENDING_PAYMENT
    assert [row["subject_id"] for row in await till.rows("audit_entry") if row["action"] == "PAYMENT_CANCELED"] == [one]
    assert await till.events(other) == [("payment.updated", "PENDING_INVOICE"), ("payment.updated", "PENDING_PAYMENT")]


async def test_who_acts_for_no_merchant_writes_into_no_log(shop: Any) -> None:
    def unit(transaction: Any) -> None:
        record(transaction, shop.services, ANONYMOUS, action=AuditAction.ARTICLE_CREATED, subject_id="art_0")

    with pytest.raises(ValueError, match="no merchant"):
        await shop.services.database.write(unit)


async def test_the_log_is_paged_the_newest_first_without_a_gap_or_a_duplicate(log: Log) -> None:
    made = []
    for n in range(7):
        answer, _ = await log.told("createArticle", CREATE, {"input": ARTICLE | {"title": f"T{n}"}})
        made.append(answer["article"]["id"])
    seen: list[Any] = []
    after, more = None, True
    while more:
        page = await log.read(first=4, after=after)
        assert (page["totalCount"], page["pageInfo"]["hasPreviousPage"]) == (9, after is not None)
        seen += [edge["node"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]

    assert [node["subjectId"] for node in seen[:7]] == made[::-1]
    assert len({node["id"] for node in seen}) == 9
    assert [node["at"] for node in seen[:7]] == sorted((node["at"] for node in seen[:7]), reverse=True)


async def test_what_is_done_within_one_millisecond_is_listed_in_its_order(log: Log) -> None:
    frozen = log.clock.now()
    at_once = log.shop.with_services(replace(log.shop.services, now=lambda: frozen))
    made = []
    for n in range(40):
        answer = await at_once.mutate("createArticle", CREATE, {"input": ARTICLE | {"title": f"T{n}"}})
        made.append(answer["article"]["id"])

    listed = [subject for _, subject, _ in await log.entries(first=40)]

    assert listed == made[::-1]


async def test_the_log_is_narrowed_by_action_actor_and_subject_together(log: Log) -> None:
    made, _ = await log.told("createArticle", CREATE, {"input": ARTICLE})
    article_id = made["article"]["id"]
    key, _ = await log.told("createApiKey", NEW_KEY, {"name": "till"})
    writer = Principal(
        merchant_id=BOOTSTRAP_MERCHANT,
        key_id=key["apiKey"]["id"],
        key_name="till",
        scopes=frozenset({Scope.ARTICLES_WRITE}),
    )
    await log.told("hideArticle", HIDE, {"id": article_id}, as_=writer)

    async def narrowed(**filter_: Any) -> list[str]:
        page = await log.read(filter=filter_)
        assert page["totalCount"] == len(page["edges"])
        return [edge["node"]["action"] for edge in page["edges"]]

    assert await narrowed(subjectId=article_id) == ["ARTICLE_UPDATED", "ARTICLE_CREATED"]
    assert await narrowed(actorId=writer.key_id) == ["ARTICLE_UPDATED"]
    assert await narrowed(action="API_KEY_CREATED", actorId=log.shop.principal.key_id) == ["API_KEY_CREATED"]
    assert sorted(await narrowed(actorId=COMMAND_LINE)) == ["API_KEY_CREATED", "MERCHANT_CREATED"]
    assert await narrowed(subjectId=article_id, actorId=writer.key_id, action="ARTICLE_CREATED") == []
    assert await narrowed(action=None, actorId=None, subjectId=None) == await narrowed()
    for foreign in ("", "\x00", "\ud800", "' OR 1=1 --"):
        assert await narrowed(subjectId=foreign) == await narrowed(actorId=foreign) == []


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"after": "x"}, "INVALID_CURSOR"),
        ({"after": "cDE6MA"}, "INVALID_CURSOR"),
        ({"first": 0}, "INVALID_INPUT"),
        ({"first": 101}, "INVALID_INPUT"),
    ],
)
async def test_a_page_that_cannot_be_meant_is_refused(shop: Any, variables: Any, code: str) -> None:
    assert await codes(shop, variables, shop.principal) == [code]


async def test_the_log_is_for_admins_of_its_own_merchant(log: Log, other_shop: Any) -> None:
    await log.told("createArticle", CREATE, {"input": ARTICLE})
    everything = await log.read()
    others = Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=frozenset(set(Scope) - {Scope.ADMIN}))

    theirs = await log.read(other_shop.principal, after=everything["edges"][0]["cursor"])

    assert await codes(log.shop, {}, others) == ["PERMISSION_DENIED"]
    assert await codes(log.shop, {}, ANONYMOUS) == ["PERMISSION_DENIED"]
    own = {edge["node"]["id"] for edge in everything["edges"]}
    assert len(own) == 3
    assert own & {edge["node"]["id"] for edge in theirs["edges"]} == set()
    assert {row["merchant_id"] for row in await _rows(log.shop)} == {
        BOOTSTRAP_MERCHANT,
        other_shop.principal.merchant_id,
    }


async def test_s1_the_log_holds_no_secret(log: Log, till: Any) -> None:
    merchant, _ = await log.told("createMerchant", NEW_MERCHANT, {"name": "Books"})
    key, _ = await log.told("createApiKey", NEW_KEY, {"name": "till"})
    successor, _ = await log.told("rotateApiKey", ROTATE, {"id": key["apiKey"]["id"]})
    made, _ = await log.told("createArticle", CREATE, {"input": ARTICLE | {"content": "the paid text"}})
    await log.told("updateArticle", UPDATE, {"input": {"id": made["article"]["id"], "content": "the dear text"}})
    order = await till.order()
    await log.told("cancelPayment", CANCEL, {"id": order.payment.id})

    secrets = [merchant["secret"], key["secret"], successor["secret"], order.client_secret, "a-bootstrap-key"]
    told = json.dumps([await log.read(), await _rows(log.shop)])
    assert [secret for secret in [*secrets, "the paid text", "the dear text"] if secret in told] == []
    assert [len(secret) > 40 for secret in secrets[:4]] == [True] * 4
    assert order.payment.id in told


async def codes(shop: Any, variables: Any, as_: Principal) -> list[str]:
    result = await schema.execute(LOG, variables, shop.context(as_))
    found = [error.original_error for error in result.errors or []]
    assert all(isinstance(error, QuittanceError) for error in found)
    return [error.code for error in found]  # type: ignore[union-attr]


async def _rows(shop: Any) -> list[dict[str, Any]]:
    from sqlalchemy import select

    from quittance.store.models import Row
    from quittance.store.statement import Statement

    columns = Row.metadata.tables["audit_entry"].c
    found = await shop.services.database.scan(lambda t: t.all(Statement(lambda _: select(*columns))))
    return [dict(zip([column.name for column in columns], row, strict=True)) for row in found]


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()

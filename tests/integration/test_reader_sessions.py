"""What a reader's token opens and what it does not, and how it ends."""

import asyncio
from typing import Any

import pytest
from graphql import GraphQLNonNull, GraphQLObjectType
from tests.integration.readers import ME, bought_by, caller, log_in
from tests.integration.test_isolation import FROM_THE_START, LISTS, READ, ask, bought, new_article, refused, watch

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import Unauthenticated
from quittance.domain.ledger import Account, AccountKind, Entry
from quittance.domain.money import BTC_MSAT
from quittance.domain.payment import PaymentPurpose
from quittance.domain.reader import SESSIONS_MAX
from quittance.gql.schema import core_schema
from quittance.resolvers.access import still_valid
from quittance.resolvers.services import ReaderRules
from quittance.sandbox.clock import SandboxClock
from quittance.store import ledger, readers

REVOKE = """
mutation ($id: ID!) { revokeSession(id: $id) { __typename
  ... on RevokeSessionSuccess { session { id current } } ... on UserError { code }
  ... on SessionNotFoundError { sessionId } } }
"""
LOGOUT = "mutation { logout { __typename ... on LogoutSuccess { session { id } } ... on UserError { code } } }"
UPDATE = """
mutation ($input: UpdateAccountInput!) { updateAccount(input: $input) { __typename
  ... on UpdateAccountSuccess { account { lightningAddress walletAddress } }
  ... on InvalidInputError { field } ... on UserError { code } } }
"""
BALANCES = "{ viewer { account { balances { value assetCode assetScale } } } }"
OWN = {"viewer", "createLoginChallenge", "verifyLogin", "revokeSession", "logout", "updateAccount"} | {
    "retryPayment",
    "claimPayment",
    "claimRefund",
    "payouts",
    "requestPayout",
    "createWithdrawal",
}
ANSWERED_BEFORE = {"checkPayment", "createLnurlLogin", "finishLogin", "setLightningAddress"}  # who calls is looked at
WATCHED = {"articlePublished", "loginCompleted", "paymentSettled", "paymentUpdated", "payoutUpdated"}
VALUES = {
    "after": f'"{FROM_THE_START}"',
    "ID": '"pay_00000000000000000000000000000000"',
    "String": '"x"',
    "Int": "1",
    "BigInt": '"1"',
    "Boolean": "true",
}


async def reader(till: Any, username: str = "alice", *, number: int = 1) -> tuple[Any, Principal]:
    login = await log_in(till.shop, username, number=number)
    return login, await caller(till.shop, login["token"])


async def sessions(till: Any, principal: Principal) -> list[Any]:
    found: list[Any] = (await till.shop.run(ME, as_=principal))["viewer"]["account"]["sessions"]
    return found


def literal(type_: Any) -> str:
    """Write down a value of an input type: with every field that must be there."""
    kind = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if hasattr(kind, "of_type"):
        return f"[{literal(kind.of_type)}]"
    if kind.name in VALUES:
        return VALUES[kind.name]
    if hasattr(kind, "values"):
        return str(next(iter(kind.values)))
    if kind.name == "AmountInput":
        return '{msat: "5000"}'  # @oneOf: no field of it must be there, but one
    needed = {name: field for name, field in kind.fields.items() if isinstance(field.type, GraphQLNonNull)}
    return "{" + ", ".join(f"{name}: {literal(field.type)}" for name, field in needed.items()) + "}"


def call(name: str, field: Any) -> str:
    """Write down a call of a root field that tells its outcome: data, or which error."""
    asked = {name: arg.type for name, arg in field.args.items() if isinstance(arg.type, GraphQLNonNull)}
    needed = [f"{name}: {VALUES.get(name) or literal(type_)}" for name, type_ in asked.items()]
    kind = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    below = "" if kind.__class__.__name__ == "GraphQLScalarType" else " { __typename }"
    return f"{name}{'(' + ', '.join(needed) + ')' if needed else ''}{below}"


def root_fields(operation: str) -> list[tuple[str, str]]:
    root: GraphQLObjectType | None = {
        "query": core_schema().query_type,
        "mutation": core_schema().mutation_type,
        "subscription": core_schema().subscription_type,
    }[operation]
    assert root is not None
    return [(name, call(name, field)) for name, field in root.fields.items() if name not in OWN]


@pytest.mark.parametrize("operation", ["query", "mutation"])
async def test_a_token_sees_of_every_root_field_what_a_stranger_sees(till: Any, operation: str) -> None:
    await bought(till, await new_article(till))
    _, principal = await reader(till)
    fields = root_fields(operation)

    differing = []
    for name, text in fields:
        document = f"{operation} {{ {text} }}"
        as_reader, as_stranger = [await ask(till, document, {}, as_=who) for who in (principal, ANONYMOUS)]
        if as_reader != as_stranger:
            differing.append((name, as_reader, as_stranger))

    assert differing == []
    assert len(fields) > 10


async def test_a_token_is_no_key_of_a_merchant(till: Any) -> None:
    fields = [text for name, text in root_fields("mutation") if name not in ANSWERED_BEFORE]
    _, principal = await reader(till)

    answers = [await ask(till, f"mutation {{ {text} }}", {}, as_=principal) for text in fields]

    kinds = {text: next(iter(data.values()))["__typename"] for text, (data, _) in zip(fields, answers, strict=True)}
    assert {text: kind for text, kind in kinds.items() if kind != "PermissionDeniedError"} == {}
    assert not any(codes for _, codes in answers)


async def test_a_token_reads_and_watches_nothing_of_a_merchant(till: Any) -> None:
    article_id = await new_article(till)
    hidden = await new_article(till, status="HIDDEN")
    made = await bought(till, article_id)
    _, principal = await reader(till)
    where = {"article": article_id, "payment": made.payment.id, "key": "k"}

    for document, variables in ((READ, where), (READ, where | {"article": hidden}), (LISTS, {"article": article_id})):
        assert await ask(till, document, variables, as_=principal) == await ask(
            till, document, variables, as_=ANONYMOUS
        )
    every = "subscription ($after: String) { paymentUpdated(after: $after) { payment { id } } }"
    one = "subscription ($id: ID) { paymentUpdated(paymentId: $id) { payment { id } } }"

    assert await watch(till, every, {"after": FROM_THE_START}, as_=principal) == []
    assert await refused(till, one, {"id": made.payment.id}, as_=principal) == "PaymentNotFound"
    for subscription, text in root_fields("subscription"):
        if subscription not in WATCHED:
            assert await refused(till, f"subscription {{ {text} }}", {}, as_=principal) == "PermissionDenied"


async def test_a_reader_sees_their_own_payments_and_nobody_elses(till: Any) -> None:
    article_id = await new_article(till)
    (_, alice), (_, bob) = await reader(till), await reader(till, "bobby", number=2)
    own = [await bought_by(till, alice, article_id=article_id, purpose=PaymentPurpose.UPVOTE) for _ in range(3)]
    await bought_by(till, bob)
    await till.order()
    document = """query ($after: String) { viewer { account { payments(first: 2, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } edges { node { id article { id } } } } } } }"""

    first = (await till.shop.run(document, as_=alice))["viewer"]["account"]["payments"]
    after = {"after": first["pageInfo"]["endCursor"]}
    rest = (await till.shop.run(document, after, as_=alice))["viewer"]["account"]["payments"]
    seen = [
        await ask(till, "query ($id: ID!) { payment(id: $id) { id } }", {"id": own[0].id}, as_=who)
        for who in (alice, bob, ANONYMOUS)
    ]

    listed = [edge["node"]["id"] for edge in [*first["edges"], *rest["edges"]]]
    assert listed == sorted((one.id for one in own), reverse=True)
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"], rest["totalCount"]) == (3, True, 3)
    assert seen == [({"payment": {"id": own[0].id}}, []), ({"payment": None}, []), ({"payment": None}, [])]


async def test_sessions_are_listed_with_their_last_use_and_one_is_the_current(till: Any, clock: SandboxClock) -> None:
    _, laptop = await reader(till)
    clock.advance(1)
    phone_login, phone = await reader(till)
    await reader(till, "bobby", number=2)
    assert phone.session_id is not None
    used_at = clock.now().replace(microsecond=0)
    await till.services.database.write(
        lambda transaction, id_=phone.session_id: readers.touch_sessions(transaction, [id_], at=used_at)
    )

    found = await sessions(till, phone)

    assert [one["id"] for one in found] == [phone.session_id, laptop.session_id]
    assert [one["current"] for one in found] == [True, False]
    assert [one["lastUsedAt"] for one in found] == [used_at.isoformat().replace("+00:00", "Z"), None]
    assert found[0]["expiresAt"] == phone_login["session"]["expiresAt"] > found[0]["createdAt"]


async def test_a_revoked_session_is_refused_at_once_and_its_sockets_end(till: Any) -> None:
    login, lost = await reader(till)
    _, kept = await reader(till)
    assert await still_valid(till.services, lost)

    revoked = await till.shop.mutate("revokeSession", REVOKE, {"id": lost.session_id}, as_=kept)
    again = await till.shop.mutate("revokeSession", REVOKE, {"id": lost.session_id}, as_=kept)

    assert revoked["session"] == {"id": lost.session_id, "current": False}
    assert (again["code"], again["sessionId"]) == ("SESSION_NOT_FOUND", lost.session_id)
    assert (await still_valid(till.services, lost), await still_valid(till.services, kept)) == (False, True)
    assert [one["id"] for one in await sessions(till, kept)] == [kept.session_id]
    with pytest.raises(Unauthenticated):
        await caller(till.shop, login["token"])


async def test_lc_13_logging_out_ends_the_session_that_asks(till: Any) -> None:
    login, principal = await reader(till)
    _, other = await reader(till)

    answer = await till.shop.mutate("logout", LOGOUT, {}, as_=principal)
    again = await till.shop.mutate("logout", LOGOUT, {}, as_=principal)

    assert answer["session"]["id"] == principal.session_id
    assert again["code"] == "SESSION_NOT_FOUND"
    assert await still_valid(till.services, other)
    with pytest.raises(Unauthenticated):
        await caller(till.shop, login["token"])


async def test_a_reader_ends_no_session_of_another_and_others_have_none(till: Any) -> None:
    (_, alice), (_, bob) = await reader(till), await reader(till, "bobby", number=2)

    foreign = [
        await till.shop.mutate("revokeSession", REVOKE, {"id": id_}, as_=bob)
        for id_ in (alice.session_id, "", "\x00", "\ud800", "ses_" + "0" * 32)
    ]
    nobody = [
        (await till.shop.mutate(field, document, variables, as_=who))["code"]
        for field, document, variables in (
            ("revokeSession", REVOKE, {"id": alice.session_id}),
            ("logout", LOGOUT, {}),
            ("updateAccount", UPDATE, {"input": {}}),
        )
        for who in (ANONYMOUS, till.shop.principal)
    ]

    assert {one["code"] for one in foreign} == {"SESSION_NOT_FOUND"}
    assert nobody == ["LOGIN_REQUIRED"] * 6
    assert await still_valid(till.services, alice)


async def test_a_session_ends_by_itself(till: Any, clock: SandboxClock) -> None:
    login, principal = await reader(till)
    clock.advance(ReaderRules().session_s - 60)
    within = await still_valid(till.services, principal)
    clock.advance(120)

    assert (within, await still_valid(till.services, principal)) == (True, False)
    with pytest.raises(Unauthenticated):
        await caller(till.shop, login["token"])
    _, later = await reader(till)
    assert [one["id"] for one in await sessions(till, later)] == [later.session_id]
    assert len(await till.rows("reader_session")) == 1


async def test_a_reader_has_so_many_sessions_and_the_oldest_end(till: Any) -> None:
    _, first = await reader(till)
    for _ in range(SESSIONS_MAX):
        _, last = await reader(till)

    found = await sessions(till, last)

    assert len(found) == len(await till.rows("reader_session")) == SESSIONS_MAX
    assert first.session_id not in {one["id"] for one in found}
    assert await still_valid(till.services, last)


async def test_a_session_ended_together_is_ended_once(till: Any, new_services: Any) -> None:
    _, principal = await reader(till)
    shops = [till.shop, till.shop.with_services(new_services())]

    answers = await asyncio.gather(*(shops[n % 2].mutate("logout", LOGOUT, {}, as_=principal) for n in range(8)))

    assert sorted(one["__typename"] for one in answers) == ["LogoutSuccess"] + ["SessionNotFoundError"] * 7


async def test_an_account_says_where_its_reader_is_paid(till: Any) -> None:
    _, principal = await reader(till)

    async def update(**given: Any) -> Any:
        return await till.shop.mutate("updateAccount", UPDATE, {"input": given}, as_=principal)

    lightning, wallet = "alice+tips@Example.com", "$wallet.example/alice"
    answers = [
        await update(lightningAddress=lightning),
        await update(walletAddress=wallet),
        await update(),
        await update(lightningAddress=None),
        await update(walletAddress="https://wallet.example/alice", lightningAddress="a@b.example:8080"),
    ]

    assert [(one["account"]["lightningAddress"], one["account"]["walletAddress"]) for one in answers] == [
        (lightning.lower(), None),
        (lightning.lower(), wallet),
        (lightning.lower(), wallet),
        (None, wallet),
        ("a@b.example:8080", "https://wallet.example/alice"),
    ]


@pytest.mark.parametrize(
    ("field", "address"),
    [
        *(
            ("lightningAddress", one)
            for one in (
                "",
                "alice",
                "@shop.example",
                "a b@shop.example",
                "a@localhost",
                "a@b@c.example",
                "a@-b.example",
            )
        ),
        *(("lightningAddress", one) for one in ("ä@shop.example", "a@shop.example/x", "a\x00@shop.example", "a" * 300)),
        *(("walletAddress", one) for one in ("", "wallet.example", "http://wallet.example", "$", "$a b.example", "$x")),
        *(("walletAddress", one) for one in ("https://u:p@wallet.example", "$wallet.example/\x00", "$w.example?x=1")),
    ],
)
async def test_other_addresses_are_refused(till: Any, field: str, address: str) -> None:
    _, principal = await reader(till)

    answer = await till.shop.mutate("updateAccount", UPDATE, {"input": {field: address}}, as_=principal)

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", field)
    account = (await till.rows("account"))[0]
    assert (account["lightning_address"], account["wallet_address"]) == (None, None)


async def test_a_reader_sees_what_the_ledger_owes_them_and_not_what_it_owes_others(till: Any) -> None:
    _, alice = await reader(till)
    _, bob = await reader(till, "bobby", number=2)
    account = Account(kind=AccountKind.READER, owner=str(alice.account_id), asset=BTC_MSAT)
    rail = Account(kind=AccountKind.PROVIDER, owner="lnd", asset=BTC_MSAT)
    lines = [Entry(account=rail, value=1_234), Entry(account=account, value=-1_234)]
    await till.services.database.write(
        lambda t: ledger.post(t, lines, transaction_id="ltx_1", settlement_id=None, at=till.services.now())
    )

    owed = [(await till.shop.run(BALANCES, as_=one))["viewer"]["account"]["balances"] for one in (alice, bob)]

    assert owed == [[{"value": "1234", "assetCode": "BTC", "assetScale": 11}], []]

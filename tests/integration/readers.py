"""Readers of the tests: they sign with nodes of their own, which no graph knows, and log in through the contract."""

from dataclasses import replace
from typing import Any

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.ids import PaymentId
from quittance.domain.payment import Payment
from quittance.resolvers.access import authenticate
from quittance.sandbox.lnd.keys import NodeKey
from quittance.store import payments

CHALLENGE = """
mutation { createLoginChallenge { __typename ... on CreateLoginChallengeSuccess { nonce expiresAt }
  ... on UserError { code retryable } } }
"""
SESSION = "id createdAt lastUsedAt expiresAt current"
ACCOUNT = "id username identityPubkey lightningAddress walletAddress createdAt balances { value }"
VERIFY = f"""
mutation ($input: VerifyLoginInput!) {{ verifyLogin(input: $input) {{ __typename
  ... on VerifyLoginSuccess {{ token account {{ {ACCOUNT} }} session {{ id expiresAt current }} }}
  ... on InvalidInputError {{ field }} ... on UserError {{ code message retryable }} }} }}
"""
ME = f"""
{{ viewer {{ kind keyName scopes merchant {{ id }} balances {{ value }}
  account {{ {ACCOUNT} sessions {{ {SESSION} }} payments {{ totalCount edges {{ node {{ id }} }} }} }} }} }}
"""


def node(number: int = 1) -> NodeKey:
    return NodeKey(number.to_bytes(32))


async def new_nonce(shop: Any) -> str:
    return str((await shop.mutate("createLoginChallenge", CHALLENGE, {}, as_=ANONYMOUS))["nonce"])


async def verify(shop: Any, nonce: str, signature: str, *, as_: Principal = ANONYMOUS, **more: Any) -> Any:
    given = {"nonce": nonce, "signature": signature} | more
    return await shop.mutate("verifyLogin", VERIFY, {"input": given}, as_=as_)


async def log_in(shop: Any, username: str | None = "alice", *, number: int = 1, as_: Principal = ANONYMOUS) -> Any:
    """Log in as the reader of a node, as people do: a nonce, a signature, an answer."""
    nonce = await new_nonce(shop)
    return await verify(shop, nonce, node(number).sign_message(nonce.encode()), username=username, as_=as_)


async def caller(shop: Any, token: str) -> Principal:
    return await authenticate(shop.services, authorization=f"Bearer {token}", client_secret=None)


async def bought_by(till: Any, principal: Principal, **more: Any) -> Payment:
    """Return a payment that a reader has made: as one of the merchant's, but for whom it buys."""
    made: Payment = (await till.order(**more)).payment
    payment_id = PaymentId(till.services.new_id("pay"))
    own: Payment = replace(made, id=payment_id, viewer=str(principal.account_id))
    await till.services.database.write(lambda transaction: payments.insert_payment(transaction, own))
    return own

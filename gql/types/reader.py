"""Readers and their sessions, on the wire."""

from datetime import datetime
from functools import partial

import strawberry

from quittance.domain import reader
from quittance.domain.cursor import encode_key
from quittance.domain.ids import AccountId
from quittance.domain.money import msat
from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.lookahead import load_for_payments
from quittance.gql.pages import PAGE_DEFAULT, asked_page, entry_key
from quittance.gql.types.money import AmountInput, Money
from quittance.gql.types.payment import Payment, PaymentConnection, PaymentEdge
from quittance.gql.types.transfer import PayoutConnection, payout_page
from quittance.gql.types.upvote import EARNING, EarningConnection, EarningEdge
from quittance.resolvers import accounts, logins

_PAYMENT = "accountPayment"


@strawberry.type(description="A login of a reader; its token was shown once.")
class Session:
    subject: strawberry.Private[reader.Session]
    id: strawberry.ID = strawberry.field(description="The session's id, which is no secret.")
    created_at: datetime = strawberry.field(description="When the reader logged in.")
    last_used_at: datetime | None = strawberry.field(description="When it was last used, to within a minute.")
    expires_at: datetime = strawberry.field(description="From when on its token does not work.")

    @strawberry.field(description="Whether this is the session of the token that asks.")
    def current(self, info: QuittanceInfo) -> bool:
        return info.context.principal.session_id == self.subject.id

    @staticmethod
    def from_domain(subject: reader.Session) -> "Session":
        return Session(
            subject=subject,
            id=strawberry.ID(subject.id),
            created_at=subject.created_at,
            last_used_at=subject.last_used_at,
            expires_at=subject.expires_at,
        )


@strawberry.type(description="A reader. It is shown to the reader alone.")
class Account:
    id: strawberry.ID = strawberry.field(description="The account's id.")
    username: str = strawberry.field(description="The name that the reader chose.")
    identity_pubkey: str | None = strawberry.field(
        description="The public key of the reader's Lightning node, in hex; null for one who logs in otherwise."
    )
    lnurl_key: str | None = strawberry.field(
        description="The key of the reader's wallet, in hex: it logs in by LNURL-auth, and is another one for each "
        "domain name. Null for one who never linked a wallet."
    )
    lightning_address: str | None = strawberry.field(description="Where the reader is paid over Lightning.")
    wallet_address: str | None = strawberry.field(description="Where the reader is paid over Interledger.")
    payout_from: Money | None = strawberry.field(
        description="The balance from which on all of it is paid out by itself; null for never."
    )
    created_at: datetime = strawberry.field(description="When the reader first logged in.")

    @strawberry.field(description="What the reader can have paid out, one amount per asset.")
    async def balances(self, info: QuittanceInfo) -> list[Money]:
        found = await accounts.balances(info.context.services, AccountId(self.id))
        return [Money.from_domain(one) for one in found]

    @strawberry.field(description="The reader's own payments, the newest first.")
    async def payments(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> PaymentConnection:
        asked = asked_page(first, after)
        services, account_id = info.context.services, AccountId(self.id)
        found = await accounts.list_payments(services, account_id, after_id=asked.after_id(_PAYMENT), limit=asked.limit)
        await load_for_payments(info, found[: asked.size])
        page = asked.of(
            found, lambda one: PaymentEdge(cursor=encode_key(_PAYMENT, one.id), node=Payment.from_domain(one))
        )
        return PaymentConnection(
            count=partial(accounts.count_payments, services, account_id), edges=page.edges, page_info=page.page_info
        )

    @strawberry.field(description="The reader's payouts, the newest first.")
    async def payouts(self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None) -> PayoutConnection:
        return await payout_page(info, self.id, first=first, after=after)

    @strawberry.field(description="The reader's shares of upvotes that others paid, the newest first.")
    async def earnings(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> EarningConnection:
        asked = asked_page(first, after)
        services, account_id = info.context.services, AccountId(self.id)
        key = None if after is None else entry_key(after, EARNING)
        found = await accounts.list_earnings(services, account_id, after=key, limit=asked.limit)
        page = asked.of(found, EarningEdge.from_domain)
        return EarningConnection(
            count=partial(accounts.count_earnings, services, account_id), edges=page.edges, page_info=page.page_info
        )

    @strawberry.field(
        description=f"Where the reader is logged in, the newest first; at most {reader.SESSIONS_MAX}, the oldest end."
    )
    async def sessions(self, info: QuittanceInfo) -> list[Session]:
        found = await logins.list_sessions(info.context.services, AccountId(self.id))
        return [Session.from_domain(one) for one in found]

    @staticmethod
    def from_domain(subject: reader.Account) -> "Account":
        return Account(
            id=strawberry.ID(subject.id),
            username=subject.username,
            identity_pubkey=subject.identity_pubkey,
            lnurl_key=subject.lnurl_key,
            lightning_address=subject.lightning_address,
            wallet_address=subject.wallet_address,
            payout_from=None if subject.payout_from_msat is None else Money.from_domain(msat(subject.payout_from_msat)),
            created_at=subject.created_at,
        )


@strawberry.input(description="A nonce that was signed.")
class VerifyLoginInput:
    nonce: str = strawberry.field(description="The nonce of `createLoginChallenge`.")
    signature: str = strawberry.field(
        description="Your node's signature of the nonce, as `lncli signmessage` and `lightning-cli signmessage` "
        "(`zbase`) give it: 104 characters."
    )
    username: str | None = strawberry.field(
        default=None,
        description="The name of a new account: 4 to 35 letters (a to z), digits, dots, - or _; "
        "large and small letters count as the same. Ignored for a key that has an account.",
    )
    identity_pubkey: str | None = strawberry.field(
        default=None,
        description="The public key of the node that signed, in hex. Give it at the first login: a signature of "
        "another text names another key, and only this tells that it is not yours.",
    )


@strawberry.input(description="What to change of the reader's account; what is left out stays as it is.")
class UpdateAccountInput:
    lightning_address: str | None = strawberry.field(
        default=strawberry.UNSET, description="A Lightning Address, such as name@example.com; null clears it."
    )
    wallet_address: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="An Interledger wallet address, such as $wallet.example/name; null clears it.",
    )
    payout_from: AmountInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="The balance from which on all of it is paid out by itself to the Lightning Address; null for "
        "never.",
    )

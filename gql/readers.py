"""Mutations of readers: logging in and out, and their accounts."""

from typing import Annotated

import strawberry

from quittance.domain.ids import SessionId
from quittance.gql.arguments import Id, given_or_null
from quittance.gql.context import QuittanceInfo
from quittance.gql.results_readers import (
    CreateLoginChallengeResult,
    CreateLoginChallengeSuccess,
    LogoutResult,
    LogoutSuccess,
    RevokeSessionResult,
    RevokeSessionSuccess,
    UpdateAccountResult,
    UpdateAccountSuccess,
    VerifyLoginResult,
    VerifyLoginSuccess,
)
from quittance.gql.types.reader import Account, Session, UpdateAccountInput, VerifyLoginInput
from quittance.resolvers import accounts, logins
from quittance.resolvers.accounts import AccountChange
from quittance.resolvers.logins import LoginAttempt


@strawberry.type(description="What readers can do.")
class ReaderMutations:
    @strawberry.mutation(description="Ask for a text to sign with the key of a Lightning node, to log in as a reader.")
    async def create_login_challenge(self, info: QuittanceInfo) -> CreateLoginChallengeResult | None:
        made = await logins.create_login_challenge(info.context.services, info.context.principal)
        return CreateLoginChallengeSuccess(nonce=made.nonce, expires_at=made.expires_at)

    @strawberry.mutation(
        description="Log in with a signed nonce. A key without an account gets one, for which it says a username. "
        "Only a login uses the nonce up; after an error it can be sent again until it expires."
    )
    async def verify_login(
        self,
        info: QuittanceInfo,
        input: Annotated[VerifyLoginInput, strawberry.argument(description="The signed nonce.")],  # noqa: A002
    ) -> VerifyLoginResult | None:
        attempt = LoginAttempt(
            nonce=input.nonce,
            signature=input.signature,
            username=input.username,
            identity_pubkey=input.identity_pubkey,
        )
        login = await logins.verify_login(info.context.services, info.context.principal, attempt)
        return VerifyLoginSuccess(
            token=login.token, account=Account.from_domain(login.account), session=Session.from_domain(login.session)
        )

    @strawberry.mutation(description="End a session of the reader; its open sockets are closed soon after.")
    async def revoke_session(self, info: QuittanceInfo, id: Id) -> RevokeSessionResult | None:  # noqa: A002
        ended = await logins.revoke_session(info.context.services, info.context.principal, SessionId(id))
        return RevokeSessionSuccess(session=Session.from_domain(ended))

    @strawberry.mutation(description="End the session of the token that asks.")
    async def logout(self, info: QuittanceInfo) -> LogoutResult | None:
        ended = await logins.logout(info.context.services, info.context.principal)
        return LogoutSuccess(session=Session.from_domain(ended))

    @strawberry.mutation(description="Change where the reader is paid.")
    async def update_account(
        self,
        info: QuittanceInfo,
        input: Annotated[UpdateAccountInput, strawberry.argument(description="What to change.")],  # noqa: A002
    ) -> UpdateAccountResult | None:
        change = AccountChange(
            lightning_address=given_or_null(input.lightning_address),
            clear_lightning_address=input.lightning_address is None,
            wallet_address=given_or_null(input.wallet_address),
            clear_wallet_address=input.wallet_address is None,
            payout_from=input.payout_from.to_domain() if input.payout_from else None,
            clear_payout_from=input.payout_from is None,
        )
        changed = await accounts.update_account(info.context.services, info.context.principal, change)
        return UpdateAccountSuccess(account=Account.from_domain(changed))

"""Logins by wallet: begun and finished by a browser, and waited for over a socket."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, cast

import strawberry

from quittance.domain.errors import LoginNotSigned, QuittanceError
from quittance.domain.lnurl_login import LnurlLogin, LoginAction
from quittance.gql.context import Context, QuittanceInfo
from quittance.gql.error_handlers import as_data
from quittance.gql.errors import (
    InvalidInputError,
    KeyTakenError,
    LoginChallengeNotFoundError,
    LoginNotSignedError,
    LoginRequiredError,
    RateLimitedError,
    UsernameRequiredError,
    UsernameTakenError,
    WalletLinkedError,
)
from quittance.gql.types.lnurl_login import CreateLnurlLoginInput, CreateLnurlLoginSuccess, FinishLoginInput
from quittance.gql.types.reader import Account, Session
from quittance.resolvers import lnurl_logins
from quittance.resolvers.logins import Login

LoginSecret = Annotated[str, strawberry.argument(description="The `loginSecret` of `createLnurlLogin`.")]


@strawberry.type(description="The reader is logged in.")
class FinishLoginSuccess:
    token: str = strawberry.field(
        description="To be sent as `Authorization: Bearer …`. It is shown this once and stored nowhere."
    )
    account: Account = strawberry.field(description="The reader's account.")
    session: Session = strawberry.field(description="The new session.")


@strawberry.type(description="The wallet's key is linked: it logs in the same account from now on.")
class LinkWalletSuccess:
    account: Account = strawberry.field(description="The reader's account.")


@strawberry.type(
    description="A wallet has signed a code of LINK. Ask the reader whether it was theirs, then call `finishLogin`: "
    "whoever has the linked wallet can use the account."
)
class WalletSigned:
    key: str = strawberry.field(description="The key of the wallet, in hex.")


CreateLnurlLoginResult = Annotated[
    CreateLnurlLoginSuccess | LoginRequiredError | UsernameRequiredError | InvalidInputError | RateLimitedError,
    strawberry.union("CreateLnurlLoginResult", description="What `createLnurlLogin` gives."),
]
FinishLoginResult = Annotated[
    FinishLoginSuccess
    | LinkWalletSuccess
    | LoginChallengeNotFoundError
    | LoginNotSignedError
    | UsernameRequiredError
    | UsernameTakenError
    | InvalidInputError
    | LoginRequiredError
    | KeyTakenError
    | WalletLinkedError
    | RateLimitedError,
    strawberry.union("FinishLoginResult", description="What `finishLogin` gives."),
]
LoginCompleted = Annotated[
    FinishLoginSuccess
    | WalletSigned
    | LoginChallengeNotFoundError
    | UsernameRequiredError
    | UsernameTakenError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("LoginCompleted", description="What became of a login, once a wallet has signed it."),
]


@strawberry.type(description="What readers with a wallet can do.")
class LnurlLoginMutations:
    @strawberry.mutation(
        description="Begin a login with a wallet that knows LNURL-auth: show the code, keep the secret, and wait with "
        "`loginCompleted` or ask with `finishLogin`. A code of LINK is to be seen by the reader alone."
    )
    async def create_lnurl_login(
        self,
        info: QuittanceInfo,
        input: Annotated[CreateLnurlLoginInput | None, strawberry.argument(description="The login.")] = None,  # noqa: A002
    ) -> CreateLnurlLoginResult | None:
        asked = input or CreateLnurlLoginInput()
        shown = await lnurl_logins.create_lnurl_login(
            info.context.services,
            info.context.principal,
            username=asked.username,
            action=LoginAction(asked.action),
        )
        return CreateLnurlLoginSuccess.from_domain(shown)

    @strawberry.mutation(
        description="Collect the login that a wallet has signed, once. A wallet without an account gets one, for which "
        "a username was said before or is said here. After an error the login can be finished until it expires. A code "
        "of LINK gives its key to the account of the reader who asks, which must have no other wallet."
    )
    async def finish_login(
        self,
        info: QuittanceInfo,
        input: Annotated[FinishLoginInput, strawberry.argument(description="The login.")],  # noqa: A002
    ) -> FinishLoginResult | None:
        done = await lnurl_logins.finish_lnurl_login(
            info.context.services, info.context.principal, secret=input.login_secret, username=input.username
        )
        if isinstance(done, Login):
            return _success(done)
        return LinkWalletSuccess(account=Account.from_domain(done))


@strawberry.type(description="What readers with a wallet can watch.")
class LnurlLoginSubscription:
    @strawberry.subscription(
        description="The login of this secret, once a wallet has signed it: one event, with the token, for this "
        "subscriber alone; then the stream ends. An error leaves the login to `finishLogin`, until it expires."
    )
    async def login_completed(self, info: QuittanceInfo, login_secret: LoginSecret) -> AsyncIterable[LoginCompleted]:
        login = await lnurl_logins.find_lnurl_login(info.context.services, login_secret)
        return _completed(info.context, login, login_secret)


async def _completed(context: Context, login: LnurlLogin, secret: str) -> AsyncIterator[LoginCompleted]:
    """Wait for the wallet until the login expires, and yield what came of it."""
    with context.signed_logins.awaited(context.events, login.id) as news:
        while True:
            try:
                yield await _collected(context, secret)
            except LoginNotSigned:
                await _wait(context, login, news)
            else:
                return


async def _collected(context: Context, secret: str) -> LoginCompleted:
    """Collect a login that was signed; the token is made here, so that nobody else is told of it.

    Raises:
        LoginNotSigned: not yet.
    """
    try:
        found = await lnurl_logins.find_signed_login(context.services, secret)
        if found.action is LoginAction.LINK:
            return WalletSigned(key=found.key or "")
        done = await lnurl_logins.finish_lnurl_login(context.services, context.principal, secret=secret)
    except LoginNotSigned:
        raise
    except QuittanceError as error:
        return cast("LoginCompleted", as_data(error))
    if not isinstance(done, Login):
        raise TypeError("a login that links no key begins a session")
    return _success(done)


async def _wait(context: Context, login: LnurlLogin, news: asyncio.Event) -> None:
    left_s = (login.expires_at - context.services.now()).total_seconds()
    try:
        async with asyncio.timeout(max(0.0, left_s)):
            await news.wait()
    except TimeoutError:
        return
    news.clear()


def _success(login: Login) -> FinishLoginSuccess:
    return FinishLoginSuccess(
        token=login.token, account=Account.from_domain(login.account), session=Session.from_domain(login.session)
    )

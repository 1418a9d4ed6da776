"""Logins by wallet, on the wire."""

import asyncio
from datetime import datetime
from typing import Annotated

import strawberry

from quittance.domain.lnurl_login import LoginAction
from quittance.gql.types.qr import QrFormat, qr_data_uri
from quittance.resolvers.lnurl_logins import ShownLogin

strawberry.enum(
    LoginAction,
    name="LnurlLoginAction",
    description="What a wallet's signature is for: LOGIN, or LINK, which gives the account of the reader who asks "
    "the wallet's key too, if it has none. A wallet that is linked is never replaced.",
)


@strawberry.input(description="A login to begin.")
class CreateLnurlLoginInput:
    username: str | None = strawberry.field(
        default=None,
        description="The name of a new account, unless `finishLogin` says one; ignored for a wallet that has one.",
    )
    action: LoginAction = strawberry.field(default=LoginAction.LOGIN, description="What the signature is for.")


@strawberry.input(description="A login to finish.")
class FinishLoginInput:
    login_secret: str = strawberry.field(description="The `loginSecret` of `createLnurlLogin`.")
    username: str | None = strawberry.field(
        default=None, description="The name of a new account: 4 to 35 letters (a to z), digits, dots, - or _."
    )


@strawberry.type(description="A login that has begun: show the code to a wallet, keep the secret.")
class CreateLnurlLoginSuccess:
    lnurl: str = strawberry.field(description="What a wallet reads (LUD-01, LUD-04), in capitals.")
    k1: str = strawberry.field(description="The challenge within it, in hex: what the wallet signs.")
    login_secret: str = strawberry.field(
        description="Collects the login, and is for the browser that shows the code alone: never show or pass it on."
    )
    expires_at: datetime = strawberry.field(description="Until when it can be signed and collected.")

    @strawberry.field(description="The code to show: a data: URI.")
    async def qr_code(
        self,
        format: Annotated[QrFormat | None, strawberry.argument(description="How to draw it.")] = QrFormat.SVG,  # noqa: A002
    ) -> str:
        text = self.lnurl.lower()  # which a code draws in capitals, as it does with invoices
        return await asyncio.to_thread(qr_data_uri, text, format or QrFormat.SVG)

    @staticmethod
    def from_domain(shown: ShownLogin) -> "CreateLnurlLoginSuccess":
        return CreateLnurlLoginSuccess(
            lnurl=shown.lnurl,
            k1=shown.new.k1,
            login_secret=shown.new.secret,
            expires_at=shown.new.login.expires_at,
        )

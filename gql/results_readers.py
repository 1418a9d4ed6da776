"""What the mutations of readers give: a success, or one of the errors that they can meet."""

from datetime import datetime
from typing import Annotated

import strawberry

from quittance.gql.errors import (
    InvalidAmountError,
    InvalidInputError,
    InvalidSignatureError,
    LoginChallengeNotFoundError,
    LoginRequiredError,
    RateLimitedError,
    SessionNotFoundError,
    UsernameRequiredError,
    UsernameTakenError,
)
from quittance.gql.types.reader import Account, Session


@strawberry.type(description="What to sign to log in.")
class CreateLoginChallengeSuccess:
    nonce: str = strawberry.field(
        description="The text to sign, as it is: it begins with the name of this server, and logs in once."
    )
    expires_at: datetime = strawberry.field(description="Until when it can be used.")


@strawberry.type(description="The reader is logged in.")
class VerifyLoginSuccess:
    token: str = strawberry.field(
        description="To be sent as `Authorization: Bearer …`. It is shown this once and stored nowhere."
    )
    account: Account = strawberry.field(description="The reader's account.")
    session: Session = strawberry.field(description="The new session.")


@strawberry.type(description="The session, which has ended.")
class RevokeSessionSuccess:
    session: Session = strawberry.field(description="The session as it was.")


@strawberry.type(description="The reader is logged out.")
class LogoutSuccess:
    session: Session = strawberry.field(description="The session as it was.")


@strawberry.type(description="The account as it is now.")
class UpdateAccountSuccess:
    account: Account = strawberry.field(description="The changed account.")


CreateLoginChallengeResult = Annotated[
    CreateLoginChallengeSuccess | RateLimitedError,
    strawberry.union("CreateLoginChallengeResult", description="What `createLoginChallenge` gives."),
]
VerifyLoginResult = Annotated[
    VerifyLoginSuccess
    | LoginChallengeNotFoundError
    | InvalidSignatureError
    | UsernameRequiredError
    | UsernameTakenError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("VerifyLoginResult", description="What `verifyLogin` gives."),
]
RevokeSessionResult = Annotated[
    RevokeSessionSuccess | LoginRequiredError | SessionNotFoundError | RateLimitedError,
    strawberry.union("RevokeSessionResult", description="What `revokeSession` gives."),
]
LogoutResult = Annotated[
    LogoutSuccess | LoginRequiredError | SessionNotFoundError | RateLimitedError,
    strawberry.union("LogoutResult", description="What `logout` gives."),
]
UpdateAccountResult = Annotated[
    UpdateAccountSuccess | LoginRequiredError | InvalidInputError | InvalidAmountError | RateLimitedError,
    strawberry.union("UpdateAccountResult", description="What `updateAccount` gives."),
]

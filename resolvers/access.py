"""Who calls: API keys, readers' tokens and client secrets turned into principals."""

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import Unauthenticated
from quittance.domain.ids import AccountId, ApiKeyId, SessionId
from quittance.domain.reader import TOKEN_PREFIX
from quittance.resolvers.services import Services
from quittance.store import merchants, readers
from quittance.store.transaction import Transaction

_SCHEME = "bearer"
CREDENTIAL_MAX = 512


async def authenticate(services: Services, *, authorization: str | None, client_secret: str | None) -> Principal:
    """Return who calls; no credential at all is the anonymous reader.

    Raises:
        Unauthenticated: a credential was given and is not valid. Which part is wrong is not told.
    """
    if authorization is not None:
        scheme, _, key = authorization.strip().partition(" ")
        if scheme.lower() != _SCHEME or not 0 < len(key.strip()) <= CREDENTIAL_MAX:
            raise Unauthenticated
        principal = await _holder(services, key.strip())
        if principal is None:
            raise Unauthenticated
        return principal
    if client_secret is not None:
        payment_id = services.derive.payment_opened_by(client_secret)
        if payment_id is None:
            raise Unauthenticated
        return Principal(payment_id=payment_id)
    return ANONYMOUS


async def still_valid(services: Services, principal: Principal) -> bool:
    """Tell whether the key or token behind a long-lived caller has neither been revoked nor lapsed since."""
    if principal.session_id is not None:
        return await services.database.read(lambda transaction: _session_works(transaction, services, principal))
    if principal.key_id is None:
        return True
    key = await services.database.read(
        lambda transaction: merchants.key_by_id(transaction, principal.key_id or ApiKeyId(""))
    )
    return key is not None and key.works(at=services.now())


async def _holder(services: Services, credential: str) -> Principal | None:
    """Return whose token or key this is. A key that a setting fixes may begin as tokens do."""
    now = services.now()

    def unit(transaction: Transaction) -> Principal | None:
        reader = None
        if credential.startswith(TOKEN_PREFIX):
            reader = readers.principal_by_token(transaction, credential, at=now)
        return reader or merchants.principal_by_key(transaction, credential, at=now)

    return await services.database.read(unit)


def _session_works(transaction: Transaction, services: Services, principal: Principal) -> bool:
    return readers.session_works(
        transaction,
        principal.session_id or SessionId(""),
        account_id=principal.account_id or AccountId(""),
        at=services.now(),
    )

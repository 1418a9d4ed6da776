"""Who calls: API keys and client secrets turned into principals."""

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import Unauthenticated
from quittance.domain.ids import ApiKeyId
from quittance.resolvers.services import Services
from quittance.store import merchants

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
        now = services.now()
        principal = await services.database.read(
            lambda transaction: merchants.principal_by_key(transaction, key.strip(), at=now)
        )
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
    """Tell whether the key behind a long-lived caller has neither been revoked nor lapsed since."""
    if principal.key_id is None:
        return True
    key = await services.database.read(
        lambda transaction: merchants.key_by_id(transaction, principal.key_id or ApiKeyId(""))
    )
    return key is not None and key.works(at=services.now())

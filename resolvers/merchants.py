"""Merchants: made and listed by the operator, changed by their own admins."""

from dataclasses import dataclass, field, replace

from quittance.domain.access import ApiKey, Principal, Scope
from quittance.domain.audit import AuditAction, Deed
from quittance.domain.errors import InvalidInput, MerchantNotFound
from quittance.domain.ids import BOOTSTRAP_MERCHANT, MERCHANT, MerchantId
from quittance.domain.policy import (
    LatePolicy,
    Merchant,
    OverPolicy,
    SettlementPolicy,
    UnderPolicy,
    check_name,
    check_policy,
)
from quittance.resolvers.audit import record_in
from quittance.resolvers.keys import BOOTSTRAP_KEY_NAME, CreatedKey, KeyDraft, add_key, new_secret, revoke_in
from quittance.resolvers.services import Services
from quittance.store import merchants
from quittance.store.transaction import Transaction

KEY_LENGTH_MIN = 8
FIRST_KEY_NAME = "first key"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedMerchant:
    """A new merchant and its first admin key."""

    merchant: Merchant
    first: CreatedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """What to change of a policy; None leaves a field as it is."""

    late: LatePolicy | None = None
    late_grace_s: int | None = None
    under: UnderPolicy | None = None
    under_tolerance_ppm: int | None = None
    over: OverPolicy | None = None

    def of(self, before: SettlementPolicy) -> SettlementPolicy:
        return SettlementPolicy(
            late=before.late if self.late is None else self.late,
            late_grace_s=before.late_grace_s if self.late_grace_s is None else self.late_grace_s,
            under=before.under if self.under is None else self.under,
            under_tolerance_ppm=(
                before.under_tolerance_ppm if self.under_tolerance_ppm is None else self.under_tolerance_ppm
            ),
            over=before.over if self.over is None else self.over,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantChange:
    """What to change of a merchant; None leaves a field as it is."""

    name: str | None = None
    default_provider: str | None = None
    policy: PolicyChange = field(default_factory=PolicyChange)
    unique_correlation_ids: bool | None = None


async def ensure_bootstrap(services: Services, *, name: str, secret: str) -> ApiKey:
    """Make the first merchant and its admin key; another secret than before revokes the one before.

    Raises:
        InvalidInput: the secret is too short, or was revoked: what leaked stays shut after a restart.
    """
    if len(secret) < KEY_LENGTH_MIN:
        raise InvalidInput("bootstrapApiKey", f"an API key has at least {KEY_LENGTH_MIN} characters")
    draft = KeyDraft(
        merchant_id=BOOTSTRAP_MERCHANT, name=BOOTSTRAP_KEY_NAME, scopes=frozenset({Scope.ADMIN}), secret=secret
    )

    def unit(transaction: Transaction) -> ApiKey:
        _ensure_merchant(transaction, services, None, _draft(services, BOOTSTRAP_MERCHANT, name=name))
        known = merchants.key_by_secret(transaction, secret)
        if known is not None:
            if not known.works(at=services.now()):
                raise InvalidInput("bootstrapApiKey", "this key was revoked; set another QUITTANCE_BOOTSTRAP_API_KEY")
            return known
        for key in merchants.keys(transaction):
            if key.merchant_id == BOOTSTRAP_MERCHANT and key.name == BOOTSTRAP_KEY_NAME:
                revoke_in(transaction, services, None, key)
        return add_key(transaction, services, None, draft)

    return await services.database.write(unit)


async def ensure_first_merchant(services: Services, *, name: str) -> Merchant:
    """Return the first merchant, which keys belong to unless said otherwise; the first call makes it."""
    merchant = _draft(services, BOOTSTRAP_MERCHANT, name=name)
    return await services.database.write(lambda transaction: _ensure_merchant(transaction, services, None, merchant))


async def create_merchant_as_operator(
    services: Services, principal: Principal, *, name: str, default_provider: str | None
) -> CreatedMerchant:
    """Add a merchant and its first admin key, whose secret is shown this once.

    Raises:
        PermissionDenied, InvalidInput, UnknownProvider: nothing was made.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    if default_provider is not None:
        services.rail(default_provider)
    return await _create(services, principal, name=name, default_provider=default_provider)


async def create_merchant(services: Services, *, name: str) -> CreatedMerchant:
    """Add a merchant and its first admin key, from the command line.

    Raises:
        InvalidInput: the name is empty or too long; nothing was made.
    """
    return await _create(services, None, name=name, default_provider=None)


async def update_merchant(
    services: Services, principal: Principal, merchant_id: MerchantId, change: MerchantChange
) -> Merchant:
    """Change the caller's own merchant, or, for the operator, any; a policy counts from the next settlement on.

    Raises:
        PermissionDenied, MerchantNotFound, InvalidInput, UnknownProvider: nothing changed.
    """
    own = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    if change == MerchantChange():
        raise InvalidInput("input", "say at least one field to change")
    if change.name is not None:
        check_name(change.name)
    if change.default_provider is not None:
        services.rail(change.default_provider)
    check_policy(change.policy.of(SettlementPolicy()))
    if merchant_id != own and not principal.is_operator:
        raise MerchantNotFound(merchant_id)

    def unit(transaction: Transaction) -> Merchant:
        before = merchants.lock_merchant(transaction, merchant_id)
        if before is None:
            raise MerchantNotFound(merchant_id)
        once = change.unique_correlation_ids
        after = replace(
            before,
            name=before.name if change.name is None else change.name,
            default_provider=change.default_provider or before.default_provider,
            policy=change.policy.of(before.policy),
            unique_correlation_ids=before.unique_correlation_ids if once is None else once,
        )
        if after != before:
            merchants.update_merchant(transaction, after)
            deed = Deed(action=AuditAction.MERCHANT_UPDATED, subject_id=merchant_id, detail=_difference(before, after))
            record_in(transaction, services, principal, merchant_id=merchant_id, deed=deed)
        return after

    return await services.database.write(unit)


async def find_merchant(services: Services, principal: Principal, merchant_id: MerchantId) -> Merchant | None:
    """Return the caller's own merchant, or, for the operator, any; None for what this caller may not see."""
    if merchant_id != principal.merchant_id and not principal.is_operator:
        return None
    return await services.database.read(lambda transaction: merchants.merchant_by_id(transaction, merchant_id))


async def list_merchants(
    services: Services, principal: Principal, *, after_id: str | None, limit: int
) -> list[Merchant]:
    """Return every merchant to the operator, to others their own; the newest first.

    Raises:
        PermissionDenied: needs ``admin``.
    """
    own = principal.require(Scope.ADMIN)
    if principal.is_operator:
        return await services.database.scan(
            lambda transaction: merchants.list_merchants(transaction, after_id=after_id, limit=limit)
        )
    found = await find_merchant(services, principal, own)
    return [] if found is None or (after_id is not None and found.id >= after_id) else [found]


async def count_merchants(services: Services, principal: Principal) -> int:
    principal.require(Scope.ADMIN)
    return await services.database.scan(merchants.count_merchants) if principal.is_operator else 1


async def list_every_merchant(services: Services) -> list[Merchant]:
    """Return all merchants, for the command line."""
    return await services.database.scan(merchants.every_merchant)


async def _create(
    services: Services, principal: Principal | None, *, name: str, default_provider: str | None
) -> CreatedMerchant:
    check_name(name)
    merchant = _draft(services, MerchantId(services.new_id(MERCHANT)), name=name)
    merchant = replace(merchant, default_provider=default_provider or merchant.default_provider)
    draft = KeyDraft(merchant_id=merchant.id, name=FIRST_KEY_NAME, scopes=frozenset({Scope.ADMIN}), secret=new_secret())

    def unit(transaction: Transaction) -> ApiKey:
        _ensure_merchant(transaction, services, principal, merchant)
        return add_key(transaction, services, principal, draft)

    key = await services.database.write(unit)
    return CreatedMerchant(merchant=merchant, first=CreatedKey(key=key, secret=draft.secret))


def _draft(services: Services, merchant_id: MerchantId, *, name: str) -> Merchant:
    return Merchant(
        id=merchant_id,
        name=name,
        default_provider=services.default_provider,
        policy=SettlementPolicy(),
        created_at=services.now(),
    )


def _ensure_merchant(
    transaction: Transaction, services: Services, principal: Principal | None, merchant: Merchant
) -> Merchant:
    """Return the merchant as it is stored; one that is new is written down as made by the caller."""
    found = merchants.merchant_by_id(transaction, merchant.id)
    if found is not None:
        return found
    if merchants.insert_merchant(transaction, merchant):
        deed = Deed(action=AuditAction.MERCHANT_CREATED, subject_id=merchant.id, detail=merchant.name)
        record_in(transaction, services, principal, merchant_id=merchant.id, deed=deed)
    return merchant


def _difference(before: Merchant, after: Merchant) -> str:
    """Tell what changed, in the contract's names."""
    changes = [
        ("name", before.name, after.name),
        ("defaultProvider", before.default_provider, after.default_provider),
        ("late", before.policy.late, after.policy.late),
        ("lateGraceSeconds", before.policy.late_grace_s, after.policy.late_grace_s),
        ("under", before.policy.under, after.policy.under),
        ("underTolerancePpm", before.policy.under_tolerance_ppm, after.policy.under_tolerance_ppm),
        ("over", before.policy.over, after.policy.over),
        ("uniqueCorrelationIds", before.unique_correlation_ids, after.unique_correlation_ids),
    ]
    return "; ".join(f"{name}: {old} -> {new}" for name, old, new in changes if old != new)

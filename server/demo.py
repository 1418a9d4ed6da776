"""What a first start in sandbox mode finds ready: a key and an article."""

import secrets
from dataclasses import dataclass, field

from quittance.domain.access import Principal, Scope
from quittance.domain.article import ArticleOrder
from quittance.domain.errors import InvalidInput
from quittance.domain.money import BTC_SAT, Money
from quittance.resolvers.articles import ArticleDraft, create_article, list_articles
from quittance.resolvers.merchants import ensure_bootstrap, ensure_first_merchant
from quittance.server.runtime import Runtime, StartRefused
from quittance.server.secret_key import remembered

_DRAFTS = (
    ArticleDraft(
        title="The proof that a debt is paid",
        summary="Why a receipt you can verify yourself is worth more than a promise.",
        content=(
            "A quittance is the document that proves a debt paid. Over Lightning the proof comes by itself: the payer "
            "learns a preimage that nobody could have known before the money arrived. You have just paid for this "
            "text, and the server that sold it to you has booked the payment once, in a ledger that sums to zero."
        ),
        price=Money(1_000, BTC_SAT),
    ),
    ArticleDraft(
        title="Late money still counts",
        summary="What should happen when an invoice is paid after it lapsed?",
        content="It is found, booked, and kept or returned by a policy the merchant chose. It is never lost.",
        price=Money(250, BTC_SAT),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The first merchant's admin key and one article to buy. The key is None when the operator must know it."""

    api_key: str | None = field(repr=False)
    article_id: str | None


async def prepare(runtime: Runtime) -> Demo:
    """Make the first merchant and, in sandbox mode, a key that is remembered and articles to try."""
    settings = runtime.settings
    secret = None if settings.bootstrap_api_key is None else settings.bootstrap_api_key.get_secret_value()
    if secret is None and settings.sandbox:
        secret = remembered(settings.state_dir / "sandbox-api-key", lambda: f"qk_{secrets.token_urlsafe(32)}")
    if secret is None:
        await ensure_first_merchant(runtime.services, name=settings.merchant_name)
        return Demo(api_key=None, article_id=None)
    try:
        key = await ensure_bootstrap(runtime.services, name=settings.merchant_name, secret=secret)
    except InvalidInput as error:
        raise StartRefused(f"the API key to start with cannot be used: {error.message}") from None
    if not settings.sandbox:
        return Demo(api_key=None, article_id=None)
    principal = Principal(
        merchant_id=key.merchant_id, key_id=key.id, key_name=key.name, scopes=frozenset({Scope.ADMIN})
    )
    return Demo(api_key=secret, article_id=await _first_article(runtime, principal))


async def _first_article(runtime: Runtime, principal: Principal) -> str:
    services = runtime.services
    found = await list_articles(services, principal, order=ArticleOrder.OLDEST, after=None, limit=1)
    if not found:
        found = [await create_article(services, principal, draft) for draft in _DRAFTS]
    return found[0].id

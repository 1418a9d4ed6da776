"""Reading many things by their keys at once: the queries behind dataloaders."""

from collections.abc import Sequence

from quittance.domain.article import Article
from quittance.domain.endpoint import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from quittance.domain.event import Event
from quittance.domain.ids import ArticleId, DeliveryId, EndpointId, MerchantId, PaymentId, TransferId
from quittance.domain.payment import Payment, PaymentOption
from quittance.domain.transfer import RefundTotal, Transfer, TransferAttempt
from quittance.domain.upvote import Upvote
from quittance.resolvers.services import Services
from quittance.store import (
    articles,
    deliveries,
    endpoints,
    events,
    lanes,
    lightning_names,
    options,
    payments,
    refund_totals,
    transfers,
    upvotes,
)


class Batches:
    """Each method answers one entry per key, in order, with one statement."""

    def __init__(self, services: Services, *, viewer: str) -> None:
        self._database = services.database
        self._viewer = viewer

    async def payments(self, ids: list[PaymentId]) -> Sequence[Payment | None]:
        return await self._database.read(lambda transaction: payments.payments_by_id(transaction, ids))

    async def articles(self, ids: list[ArticleId]) -> Sequence[Article | None]:
        return await self._database.read(lambda transaction: articles.articles_by_id(transaction, ids))

    async def options(self, ids: list[PaymentId]) -> Sequence[list[PaymentOption]]:
        """Each payment's options, the oldest first."""
        return await self._database.read(lambda transaction: options.options_of_payments(transaction, ids))

    async def upvotes(self, ids: list[PaymentId]) -> Sequence[Upvote | None]:
        """What became of each payment that is a complete upvote."""
        return await self._database.read(lambda transaction: upvotes.upvotes_of_payments(transaction, ids))

    async def events(self, ids: list[PaymentId]) -> Sequence[list[Event]]:
        """Each payment's events in order."""
        return await self._database.read(lambda transaction: events.events_of_payments(transaction, ids))

    async def bought(self, ids: list[ArticleId]) -> Sequence[PaymentId | None]:
        """The viewer's complete view payment of each article."""
        return await self._view_payments(ids, complete=True)

    async def view_payments(self, ids: list[ArticleId]) -> Sequence[PaymentId | None]:
        """The viewer's newest view payment of each article, in whatever status."""
        return await self._view_payments(ids, complete=False)

    async def deliveries_of(self, ids: list[PaymentId]) -> Sequence[list[WebhookDelivery]]:
        """Each payment's webhook deliveries, the oldest first."""
        return await self._database.read(lambda transaction: deliveries.deliveries_of_payments(transaction, ids))

    async def deliveries(self, ids: list[DeliveryId]) -> Sequence[WebhookDelivery | None]:
        return await self._database.read(lambda transaction: deliveries.deliveries_by_id(transaction, ids))

    async def endpoints(self, ids: list[EndpointId]) -> Sequence[WebhookEndpoint | None]:
        return await self._database.read(lambda transaction: endpoints.endpoints_by_id(transaction, ids))

    async def queue_depths(self, ids: list[EndpointId]) -> Sequence[int]:
        """How many deliveries to each endpoint did not end."""
        return await self._database.read(lambda transaction: deliveries.pending_counts(transaction, ids))

    async def lane_rates(self, names: list[str]) -> Sequence[int | None]:
        """How many jobs of each lane may begin in a second, where the lane says so."""
        return await self._database.read(lambda transaction: lanes.rates(transaction, names))

    async def lightning_names(self, ids: list[MerchantId]) -> Sequence[str | None]:
        """The name that each merchant is paid by."""
        return await self._database.read(lambda transaction: lightning_names.names_of_merchants(transaction, ids))

    async def attempts(self, ids: list[DeliveryId]) -> Sequence[list[WebhookAttempt]]:
        """Each delivery's attempts in order."""
        return await self._database.read(lambda transaction: deliveries.attempts_of_deliveries(transaction, ids))

    async def _view_payments(self, ids: list[ArticleId], *, complete: bool) -> Sequence[PaymentId | None]:
        if not self._viewer:
            return [None] * len(ids)
        return await self._database.read(
            lambda transaction: payments.view_payments(transaction, ids, viewer=self._viewer, complete=complete)
        )

    async def refunds_of(self, ids: list[PaymentId]) -> Sequence[list[Transfer]]:
        """Each payment's refunds, the newest first."""
        return await self._database.read(lambda transaction: transfers.transfers_of_payments(transaction, ids))

    async def refund_totals(self, ids: list[PaymentId]) -> Sequence[RefundTotal]:
        return await self._database.read(lambda transaction: refund_totals.totals_of(transaction, ids))

    async def transfers(self, ids: list[TransferId]) -> Sequence[Transfer | None]:
        return await self._database.read(lambda transaction: transfers.transfers_by_id(transaction, ids))

    async def transfer_attempts(self, ids: list[TransferId]) -> Sequence[list[TransferAttempt]]:
        """Each transfer's tries, the oldest first."""
        return await self._database.read(lambda transaction: transfers.attempts_of(transaction, ids))

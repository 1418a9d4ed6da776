"""Dataloaders: one statement per level of a query, whatever its width. They live as long as one execution."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TypeVar

from strawberry.dataloader import DataLoader

from quittance.domain.article import Article
from quittance.domain.endpoint import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from quittance.domain.event import Event
from quittance.domain.ids import ArticleId, DeliveryId, EndpointId, MerchantId, PaymentId, TransferId
from quittance.domain.payment import Payment, PaymentOption
from quittance.domain.transfer import RefundTotal, Transfer, TransferAttempt
from quittance.domain.upvote import Upvote
from quittance.resolvers.batches import Batches
from quittance.resolvers.services import Services

BATCH_MAX = 500


K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


class Loader(DataLoader[K, T]):
    """A dataloader that answers at once what it knows: a field that must be awaited costs three times another."""

    def __init__(self, load: Callable[[list[K]], Awaitable[Sequence[T]]], *, cache: bool = True) -> None:
        super().__init__(load_fn=load, max_batch_size=BATCH_MAX, cache=cache)

    def then(self, key: K, use: Callable[[T], R]) -> R:
        """Return ``use(value)``; where the value is not known yet, an awaitable of it, which graphql-core awaits."""
        known = self.cache_map.get(key)
        if known is not None and known.done() and not known.cancelled() and known.exception() is None:
            return use(known.result())

        async def later() -> R:
            return use(await self.load(key))

        return later()  # type: ignore[return-value]


class Loaders:
    """One loader a noun, made when it is first asked: most executions need one or two."""

    def __init__(self, services: Services, *, viewer: str) -> None:
        self._batches = Batches(services, viewer=viewer)

    def forget_payment(self, payment_id: PaymentId) -> None:
        """Let what is asked of a payment be read again: a mutation has changed it."""
        for loader in (self.payment, self.options, self.events, self.upvote, self.refunds_of, self.refund_total):
            if loader.cache_map.get(payment_id) is not None:
                loader.clear(payment_id)

    @cached_property
    def payment(self) -> Loader[PaymentId, Payment | None]:
        return Loader(self._batches.payments)

    @cached_property
    def article(self) -> Loader[ArticleId, Article | None]:
        return Loader(self._batches.articles)

    @cached_property
    def options(self) -> Loader[PaymentId, list[PaymentOption]]:
        return Loader(self._batches.options)

    @cached_property
    def events(self) -> Loader[PaymentId, list[Event]]:
        return Loader(self._batches.events)

    @cached_property
    def upvote(self) -> Loader[PaymentId, Upvote | None]:
        return Loader(self._batches.upvotes)

    @cached_property
    def bought(self) -> Loader[ArticleId, PaymentId | None]:
        return Loader(self._batches.bought)

    @cached_property
    def view_payment(self) -> Loader[ArticleId, PaymentId | None]:
        return Loader(self._batches.view_payments)

    @cached_property
    def deliveries_of(self) -> Loader[PaymentId, list[WebhookDelivery]]:
        return Loader(self._batches.deliveries_of)

    @cached_property
    def delivery(self) -> Loader[DeliveryId, WebhookDelivery | None]:
        return Loader(self._batches.deliveries)

    @cached_property
    def endpoint(self) -> Loader[EndpointId, WebhookEndpoint | None]:
        return Loader(self._batches.endpoints)

    @cached_property
    def queue_depth(self) -> Loader[EndpointId, int]:
        """Not remembered: several mutations of one document may each add to a queue."""
        return Loader(self._batches.queue_depths, cache=False)

    @cached_property
    def lane_rate(self) -> Loader[str, int | None]:
        """Not remembered: a mutation of the same document may change it."""
        return Loader(self._batches.lane_rates, cache=False)

    @cached_property
    def lightning_name(self) -> Loader[MerchantId, str | None]:
        """Not remembered: a mutation of the same document may change it."""
        return Loader(self._batches.lightning_names, cache=False)

    @cached_property
    def attempts(self) -> Loader[DeliveryId, list[WebhookAttempt]]:
        return Loader(self._batches.attempts)

    @cached_property
    def refunds_of(self) -> Loader[PaymentId, list[Transfer]]:
        return Loader(self._batches.refunds_of)

    @cached_property
    def refund_total(self) -> Loader[PaymentId, RefundTotal]:
        return Loader(self._batches.refund_totals)

    @cached_property
    def transfer(self) -> Loader[TransferId, Transfer | None]:
        return Loader(self._batches.transfers)

    @cached_property
    def transfer_attempts(self) -> Loader[TransferId, list[TransferAttempt]]:
        return Loader(self._batches.transfer_attempts)

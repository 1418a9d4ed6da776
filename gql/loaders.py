"""Dataloaders: one statement per level of a query, whatever its width. They live as long as one execution."""

from functools import cached_property

from strawberry.dataloader import DataLoader

from quittance.domain.article import Article
from quittance.domain.event import Event
from quittance.domain.ids import ArticleId, PaymentId
from quittance.domain.payment import Payment, PaymentOption
from quittance.resolvers.batches import Batches
from quittance.resolvers.services import Services

BATCH_MAX = 500


class Loaders:
    """One loader a noun, made when it is first asked: most executions need one or two."""

    def __init__(self, services: Services, *, viewer: str) -> None:
        self._batches = Batches(services, viewer=viewer)

    @cached_property
    def payment(self) -> DataLoader[PaymentId, Payment | None]:
        return DataLoader(load_fn=self._batches.payments, max_batch_size=BATCH_MAX)

    @cached_property
    def article(self) -> DataLoader[ArticleId, Article | None]:
        return DataLoader(load_fn=self._batches.articles, max_batch_size=BATCH_MAX)

    @cached_property
    def options(self) -> DataLoader[PaymentId, list[PaymentOption]]:
        return DataLoader(load_fn=self._batches.options, max_batch_size=BATCH_MAX)

    @cached_property
    def events(self) -> DataLoader[PaymentId, list[Event]]:
        return DataLoader(load_fn=self._batches.events, max_batch_size=BATCH_MAX)

    @cached_property
    def bought(self) -> DataLoader[ArticleId, PaymentId | None]:
        return DataLoader(load_fn=self._batches.bought, max_batch_size=BATCH_MAX)

    @cached_property
    def view_payment(self) -> DataLoader[ArticleId, PaymentId | None]:
        return DataLoader(load_fn=self._batches.view_payments, max_batch_size=BATCH_MAX)

"""Dataloaders: one statement per level of a query, whatever its width. They live as long as one execution."""

from strawberry.dataloader import DataLoader

from quittance.resolvers.batches import Batches
from quittance.resolvers.services import Services

BATCH_MAX = 500


class Loaders:
    """One loader a noun."""

    def __init__(self, services: Services, *, viewer: str) -> None:
        batches = Batches(services, viewer=viewer)
        self.payment = DataLoader(load_fn=batches.payments, max_batch_size=BATCH_MAX)
        self.article = DataLoader(load_fn=batches.articles, max_batch_size=BATCH_MAX)
        self.options = DataLoader(load_fn=batches.options, max_batch_size=BATCH_MAX)
        self.events = DataLoader(load_fn=batches.events, max_batch_size=BATCH_MAX)
        self.bought = DataLoader(load_fn=batches.bought, max_batch_size=BATCH_MAX)
        self.view_payment = DataLoader(load_fn=batches.view_payments, max_batch_size=BATCH_MAX)

"""What an idempotency key stands for: the digest of an order, which outlives versions of this program."""

from dataclasses import replace

from quittance.domain.money import msat
from quittance.resolvers.orders import InvoiceOrder

STORED = "810b7132e39e6d3ebffc6a7750336acc1921da58b99899ddc7e12be287abfd49"
ORDER = InvoiceOrder(amount=msat(5_000), description="a book", idempotency_key="k")


def order(notify_url: str | None) -> InvoiceOrder:
    return replace(ORDER, notify_url=notify_url)


def test_an_order_without_an_address_has_the_digest_that_older_versions_stored() -> None:
    assert ORDER.fingerprint().hex() == STORED
    assert order(None).fingerprint().hex() == STORED


def test_each_address_makes_another_order() -> None:
    one, other = "https://shop.example/a", "https://shop.example/b"
    digests = {each.fingerprint() for each in (ORDER, order(""), order(one), order(other))}

    assert len(digests) == 4
    assert order(one).fingerprint() == order(one).fingerprint()


def test_an_order_s_repr_does_not_show_the_address() -> None:
    assert "t0k3n" not in repr(order("https://shop.example/?token=t0k3n"))

"""The whole list of a node's invoices, through the adapter."""

import itertools
from hashlib import sha256
from typing import Any

import pytest

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import msat
from quittance.providers.base import InvoiceStatus, ListsInvoices
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.provider import LndProvider


def reference(n: int) -> str:
    return sha256(bytes([n]) * 32).hexdigest()


async def test_every_invoice_is_listed_once_the_oldest_first(lnd: LndProvider, node: Any) -> None:
    for n in range(1, 9):
        node.add(bytes([n]) * 32)
    node.settle(node.invoices[1], paid_msat=20_999)
    node.invoices[2].state = lnrpc_pb2.Invoice.CANCELED

    listed = [invoice async for invoice in lnd.invoices()]

    assert isinstance(lnd, ListsInvoices)
    assert [invoice.reference for invoice in listed] == [reference(n) for n in range(1, 9)]
    assert [invoice.status for invoice in listed[:4]] == [
        InvoiceStatus.OPEN,
        InvoiceStatus.SETTLED,
        InvoiceStatus.CANCELED,
        InvoiceStatus.OPEN,
    ]
    assert [invoice.received for invoice in listed[:3]] == [None, msat(20_999), None]
    assert node.calls == ["ListInvoices"] * 4  # three pages of three at most, and the empty one


async def test_list_that_breaks_off_is_no_whole_list(lnd: LndProvider, node: Any) -> None:
    for n in range(1, 9):
        node.add(bytes([n]) * 32)
    answers = itertools.count()

    async def first_page_only(asked: Any) -> Any:
        if next(answers):
            node.faults.pop("ListInvoices")
            node.hang_on("ListInvoices")
            return await node.faults["ListInvoices"](asked)
        return await node.ListInvoices(asked)

    node.faults["ListInvoices"] = first_page_only
    listed: list[str] = []

    async def read() -> None:
        async for invoice in lnd.invoices():
            listed.append(invoice.reference)  # noqa: PERF401 - what came before the failure must stay

    with pytest.raises(ProviderUnavailable):
        await read()

    assert listed == [reference(n) for n in range(1, 4)]


async def test_list_that_does_not_advance_is_refused(lnd: LndProvider, node: Any) -> None:
    for n in range(1, 9):
        node.add(bytes([n]) * 32)
    node.answer_with(
        "ListInvoices",
        lnrpc_pb2.ListInvoiceResponse(invoices=node.invoices[:3], first_index_offset=1, last_index_offset=3),
    )

    with pytest.raises(ProviderMisconfigured, match="does not advance"):
        [invoice async for invoice in lnd.invoices()]

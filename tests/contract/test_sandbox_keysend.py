"""Money that no invoice asked for: what a sandbox node makes of it, and that it survives a restart of the rails."""

import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.contract.conftest import NodeClient

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.lnd.paying import route_fee_msat
from quittance.sandbox.rails import SandboxRails

START_MSAT = 10 * 10**11
PREIMAGE = b"k" * 32
HASH = sha256(PREIMAGE).digest()
RECORDS = {5_482_373_484: PREIMAGE, 34_349_334: b"thanks"}


async def give(client: Any, payee: SandboxRails, **fields: Any) -> list[Any]:
    order: dict[str, Any] = {
        "dest": bytes.fromhex(payee.nodes["merchant"].pubkey),
        "amt_msat": 7_000,
        "payment_hash": HASH,
        "dest_custom_records": RECORDS,
        "dest_features": [ln.TLV_ONION_OPT],
        "fee_limit_sat": 10,
        "no_inflight_updates": True,
    }
    stream = client.router.SendPaymentV2(router.SendPaymentRequest(**order | fields), metadata=client.auth)
    return [message async for message in stream]


async def test_money_with_its_own_preimage_makes_a_settled_invoice(
    rails: SandboxRails, merchant: Any, alice: Any
) -> None:
    (sent,) = await give(alice, rails)

    found = await merchant.lightning.LookupInvoice(ln.PaymentHash(r_hash=HASH), metadata=merchant.auth)
    assert (sent.status, sent.payment_preimage) == (ln.Payment.SUCCEEDED, PREIMAGE.hex())
    assert (found.state, found.is_keysend, found.memo, found.payment_request) == (ln.Invoice.SETTLED, True, "", "")
    assert (found.amt_paid_msat, found.value_msat, found.settle_index, found.add_index) == (7_000, 7_000, 1, 1)
    assert dict(found.htlcs[0].custom_records) == RECORDS
    assert rails.nodes["merchant"].balance_msat == 7_000
    assert rails.nodes["alice"].balance_msat == START_MSAT - 7_000 - route_fee_msat(7_000)


@pytest.mark.parametrize("records", [{}, {5_482_373_484: b"x" * 32}, {5_482_373_484: b""}])
async def test_money_without_the_preimage_comes_back(rails: SandboxRails, alice: Any, records: Any) -> None:
    (sent,) = await give(alice, rails, dest_custom_records=records)

    assert (sent.status, sent.failure_reason) == (
        ln.Payment.FAILED,
        ln.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS,
    )
    assert len(rails.nodes["merchant"].invoices) == 0
    assert rails.nodes["alice"].balance_msat == START_MSAT


async def test_a_record_number_that_is_not_ours_to_give_begins_nothing(rails: SandboxRails, alice: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="below min") as caught:
        await give(alice, rails, dest_custom_records={65_535: b""})

    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert rails.nodes["alice"].payments == {}


async def test_money_on_its_way_arrives_with_its_records(rails: SandboxRails, alice: Any) -> None:
    await rails.faults.arm("lnd", "pending_forever")
    order = router.SendPaymentRequest(
        dest=bytes.fromhex(rails.nodes["merchant"].pubkey),
        amt_msat=7_000,
        payment_hash=HASH,
        dest_custom_records=RECORDS,
        fee_limit_sat=10,
    )
    stream = alice.router.SendPaymentV2(order, metadata=alice.auth)
    assert (await stream.read()).status == ln.Payment.IN_FLIGHT

    await rails.faults.arm("lnd", "release_pending")

    assert (await stream.read()).status == ln.Payment.SUCCEEDED
    assert dict(rails.nodes["merchant"].invoices[HASH].to_message().htlcs[0].custom_records) == RECORDS


async def test_a_file_of_an_earlier_version_is_read_and_completed(tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    clock = SandboxClock(None)
    earlier = await SandboxRails.start(directory=directory, clock=clock)
    pubkey = earlier.nodes["alice"].pubkey
    await earlier.stop()
    file = sqlite3.connect(directory / "lnd.sqlite3")
    for table in ("invoice", "payment"):
        file.execute(f"ALTER TABLE {table} DROP COLUMN custom_records")
    file.close()

    later = await SandboxRails.start(directory=directory, clock=clock)
    await later.pay(await invoice_of(later))

    assert later.nodes["alice"].pubkey == pubkey
    assert later.nodes["merchant"].balance_msat == 1_000
    await later.stop()


async def invoice_of(rails: SandboxRails) -> str:
    client = NodeClient(rails.node_coordinates("merchant"))
    made = await client.lightning.AddInvoice(ln.Invoice(value=1), metadata=client.auth)
    await client.channel.close(None)
    return made.payment_request

"""SubscribeInvoices resumes as LND's does, and the faults of the rail do what they say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import staterpc_pb2 as state
from quittance.sandbox.rails import SandboxRails

QUIET_S = 0.15


async def add(client: Any, **fields: Any) -> Any:
    return await client.lightning.AddInvoice(ln.Invoice(**fields), metadata=client.auth)


async def found(client: Any, r_hash: bytes) -> Any:
    return await client.lightning.LookupInvoice(ln.PaymentHash(r_hash=r_hash), metadata=client.auth)


@asynccontextmanager
async def listening(client: Any, rails: Any, **indexes: int) -> AsyncIterator[Any]:
    stream = client.lightning.SubscribeInvoices(ln.InvoiceSubscription(**indexes), metadata=client.auth)
    listeners = rails.nodes["merchant"].listeners._all
    before = len(listeners)
    reading = asyncio.ensure_future(stream.read())
    while len(listeners) == before and not reading.done():  # noqa: ASYNC110
        await asyncio.sleep(0.005)

    async def events() -> list[tuple[int, int, int]]:
        nonlocal reading
        seen = []
        while (await asyncio.wait([reading], timeout=QUIET_S))[0]:
            one = reading.result()
            seen.append((one.add_index, one.settle_index, one.state))
            reading = asyncio.ensure_future(stream.read())
        return seen

    yield events
    stream.cancel()
    await asyncio.wait([reading])
    if not reading.cancelled():
        reading.exception()


async def settled(rails: Any, client: Any, count: int) -> list[Any]:
    made = [await add(client, value=1) for _ in range(count)]
    for one in made:
        await rails.pay(one.payment_request)
    return made


async def test_index_zero_replays_nothing_and_hears_what_comes(rails: SandboxRails, merchant: Any) -> None:
    await settled(rails, merchant, 2)

    async with listening(merchant, rails) as events:
        await settled(rails, merchant, 1)
        seen = await events()

    assert seen == [(3, 0, ln.Invoice.OPEN), (3, 3, ln.Invoice.SETTLED)]


async def test_an_index_replays_what_came_after_it(rails: SandboxRails, merchant: Any) -> None:
    await settled(rails, merchant, 3)

    async with listening(merchant, rails, settle_index=1) as events:
        replayed = await events()
    async with listening(merchant, rails, add_index=2) as events:
        added = await events()

    assert replayed == [(2, 2, ln.Invoice.SETTLED), (3, 3, ln.Invoice.SETTLED)]
    assert added == [(3, 3, ln.Invoice.SETTLED)]


async def test_canceled_invoices_are_not_told(rails: SandboxRails, merchant: Any) -> None:
    async with listening(merchant, rails) as events:
        await add(merchant, value=1, expiry=60)
        rails.clock.advance(62)
        seen = await events()

    assert seen == [(1, 0, ln.Invoice.OPEN)]
    assert next(iter(rails.nodes["merchant"].invoices.values())).state == ln.Invoice.CANCELED


async def test_an_index_above_the_nodes_own_silences_settlements(rails: SandboxRails, merchant: Any) -> None:
    async with listening(merchant, rails, settle_index=3) as events:
        await settled(rails, merchant, 4)
        seen = await events()

    assert [event for event in seen if event[2] == ln.Invoice.SETTLED] == [(4, 4, ln.Invoice.SETTLED)]


async def test_a_silent_settlement_is_only_found_by_asking(rails: SandboxRails, merchant: Any) -> None:
    await settled(rails, merchant, 1)
    await rails.faults.arm("lnd", "silent_stream")
    async with listening(merchant, rails, settle_index=1) as events:
        made = await settled(rails, merchant, 1)
        await settled(rails, merchant, 1)
        live = await events()
    async with listening(merchant, rails, settle_index=1) as events:
        replayed = await events()

    assert [index for _, index, _ in live if index] == [3]
    assert [index for _, index, _ in replayed] == [3]
    assert (await found(merchant, made[0].r_hash)).state == ln.Invoice.SETTLED


async def test_a_settlement_may_come_twice(rails: SandboxRails, merchant: Any) -> None:
    await rails.faults.arm("lnd", "duplicate_settlement")

    async with listening(merchant, rails) as events:
        await settled(rails, merchant, 1)
        seen = await events()

    assert [index for _, index, _ in seen] == [0, 1, 1]
    assert rails.nodes["merchant"].balance_msat == 1_000


async def test_a_dropped_stream_ends_unavailable(rails: SandboxRails, merchant: Any) -> None:
    stream = merchant.lightning.SubscribeInvoices(ln.InvoiceSubscription(settle_index=1), metadata=merchant.auth)
    reading = asyncio.ensure_future(stream.read())
    while not rails.nodes["merchant"].listeners._all:  # noqa: ASYNC110
        await asyncio.sleep(0.005)

    await rails.faults.arm("lnd", "dropped_stream")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reading
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_after_an_index_reset_the_next_settlement_has_index_one(rails: SandboxRails, merchant: Any) -> None:
    made = await settled(rails, merchant, 3)
    await rails.faults.arm("lnd", "index_reset")
    await asyncio.wait_for(merchant.channel.channel_ready(), 5)

    async with listening(merchant, rails, settle_index=3) as events:
        late = await settled(rails, merchant, 1)
        seen = await events()

    old, new = await found(merchant, made[2].r_hash), await found(merchant, late[0].r_hash)
    assert (old.state, old.settle_index) == (ln.Invoice.SETTLED, 0)
    assert (new.state, new.settle_index) == (ln.Invoice.SETTLED, 1)
    assert [event for event in seen if event[2] == ln.Invoice.SETTLED] == []


async def test_a_restarted_node_keeps_port_and_invoices(rails: SandboxRails, merchant: Any) -> None:
    made = await add(merchant, value=1)
    address = rails.lnd.address

    await rails.faults.arm("lnd", "restart")

    await asyncio.wait_for(merchant.channel.channel_ready(), 5)
    assert rails.lnd.address == address
    assert (await found(merchant, made.r_hash)).payment_request == made.payment_request


async def test_a_lost_answer_acts_and_meets_only_writes(rails: SandboxRails, merchant: Any) -> None:
    await rails.faults.arm("lnd", "lost_answer")

    await merchant.lightning.GetInfo(ln.GetInfoRequest(), metadata=merchant.auth)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await add(merchant, value=1)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(rails.nodes["merchant"].invoices) == 1


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("unavailable", grpc.StatusCode.UNAVAILABLE, "failed to connect"),
        ("locked", grpc.StatusCode.UNKNOWN, "wallet locked, unlock it to enable full RPC access"),
        ("starting", grpc.StatusCode.UNKNOWN, "the RPC server is in the process of starting up"),
    ],
)
async def test_a_node_that_is_not_there_does_nothing(
    rails: SandboxRails, merchant: Any, fault: str, code: grpc.StatusCode, text: str
) -> None:
    await rails.faults.arm("lnd", fault, calls=2, method="AddInvoice")
    locked = (await merchant.state.GetState(state.GetStateRequest())).state
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError, match=text) as caught:
            await add(merchant, value=1)
        assert caught.value.code() is code

    await add(merchant, value=1)

    assert locked == (state.LOCKED if fault == "locked" else state.SERVER_ACTIVE)
    assert len(rails.nodes["merchant"].invoices) == 1


async def test_a_delayed_call_acts_late(rails: SandboxRails, merchant: Any) -> None:
    await rails.faults.arm("lnd", "delay", seconds=5, method="AddInvoice")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await merchant.lightning.AddInvoice(ln.Invoice(value=1), metadata=merchant.auth, timeout=0.1)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(rails.nodes["merchant"].invoices) == 0

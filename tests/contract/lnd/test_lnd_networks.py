"""A rail moves one currency on one network: a node of any other is refused, and so is each of its invoices."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.ids import Preimage
from quittance.domain.money import LTC_LITOSHI, LTC_MSAT, Money
from quittance.providers.base import InvoiceRequest, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.currencies import BITCOIN, LITECOIN, Currency
from quittance.providers.lnd.provider import LndProvider
from quittance.server.runtime import StartRefused, open_runtime
from quittance.server.settings import load_settings
from quittance.store.migrate import upgrade_from_loop

PREIMAGE = Preimage(b"\x05" * 32)
PLACES = [(currency, network) for currency in (BITCOIN, LITECOIN) for network in currency.prefixes]
NAMES = [f"{currency.chain}-{network}" for currency, network in PLACES]
Connect = Callable[[Currency, str], LndProvider]

each_place = pytest.mark.parametrize(("currency", "network"), PLACES, ids=NAMES)


@pytest.fixture
async def connect(node: Any) -> AsyncIterator[Connect]:
    """Connect the adapter, set to any currency and network, to the tiny node."""
    server = grpc.aio.server()
    node.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connected: list[LndProvider] = []

    def to(currency: Currency, network: str) -> LndProvider:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        connected.append(LndProvider(channel, network=network, currency=currency, name="rail", timeout_s=2))
        return connected[-1]

    yield to
    for provider in connected:
        await provider.aclose()
    await server.stop(grace=None)


def order(currency: Currency) -> InvoiceRequest:
    return InvoiceRequest(amount=Money(21_000, currency.asset), description="", expires_in_s=600, preimage=PREIMAGE)


@each_place
async def test_a_rail_is_ready_on_its_own_network_and_on_no_other(
    node: Any, connect: Connect, currency: Currency, network: str
) -> None:
    rail = connect(currency, network)
    ready: list[tuple[str, str]] = []
    for chain, of_chain in [(one.chain, other) for one, other in PLACES]:
        node.chain, node.network = chain, of_chain
        health = await rail.health()
        assert health.wrong_network is not health.ready
        if health.ready:
            ready.append((chain, of_chain))

    assert ready == [(currency.chain, network)]


@each_place
async def test_an_invoice_with_the_prefix_of_another_network_is_not_handed_out(
    node: Any, connect: Connect, currency: Currency, network: str
) -> None:
    rail = connect(currency, network)
    own = currency.prefixes[network]
    others = sorted({prefix for one, _ in PLACES for prefix in one.prefixes.values()} - {own})
    for prefix in others:
        node.prefix, node.invoices = prefix, []
        with pytest.raises(ProviderMisconfigured, match=f"another network than {currency.chain} {network}"):
            await rail.create_invoice(order(currency))

    node.prefix, node.invoices = own, []
    made = await rail.create_invoice(order(currency))

    assert len(others) == 7
    assert made.payment_request is not None
    assert made.payment_request.startswith(f"ln{own}210n1")


@each_place
async def test_a_node_that_may_not_be_asked_is_judged_by_its_invoices(
    node: Any, connect: Connect, currency: Currency, network: str
) -> None:
    node.refuse("GetInfo", "permission denied")
    rail = connect(currency, network)
    judged: dict[str, bool] = {}
    for prefix in sorted({prefix for one, _ in PLACES for prefix in one.prefixes.values()}):
        node.prefix, node.invoices = prefix, []
        node.add(PREIMAGE)
        judged[prefix] = (await rail.health()).wrong_network

    assert [prefix for prefix, wrong in judged.items() if not wrong] == [currency.prefixes[network]]


@pytest.mark.parametrize("network", BITCOIN.prefixes)
@pytest.mark.parametrize("chain", ["bitcoin", "litecoin"])
async def test_no_process_starts_on_a_node_of_another_network(
    node: Any, tls_node: tuple[int, bytes], tmp_path: Path, chain: str, network: str
) -> None:
    port, certificate = tls_node
    (tmp_path / "tls.cert").write_bytes(certificate)
    (tmp_path / "macaroon").write_bytes(b"\x02")
    node.chain, node.network = chain, network
    ends = {ours: await _start(tmp_path, port, network=ours) for ours in BITCOIN.prefixes}

    assert ends == {
        ours: None
        if (chain, network) == ("bitcoin", ours)
        else f"lnd: the node is on {chain} {network}, we are set to bitcoin {ours}; "
        "connect another node, or set QUITTANCE_LND_NETWORK to this one's network"
        for ours in BITCOIN.prefixes
    }


async def test_a_node_that_no_longer_names_its_chain_is_on_bitcoin(node: Any, connect: Connect) -> None:
    node.answer_with(
        "GetInfo", lnrpc_pb2.GetInfoResponse(synced_to_chain=True, chains=[lnrpc_pb2.Chain(network="mainnet")])
    )

    assert (await connect(BITCOIN, "mainnet").health()).ready
    assert (await connect(LITECOIN, "mainnet").health()).wrong_network


@pytest.mark.parametrize("network", ["testnet4", "signet", "simnet"])
def test_litecoin_has_no_such_network(network: str) -> None:
    with pytest.raises(ValueError, match="mainnet, testnet, regtest"):
        LndProvider(None, network=network, currency=LITECOIN)  # type: ignore[arg-type]


async def test_litecoin_is_asked_for_and_reported_as_litecoin(node: Any, connect: Connect) -> None:
    node.chain, node.prefix = "litecoin", "rltc"
    rail = connect(LITECOIN, "regtest")
    asked = InvoiceRequest(amount=Money(21, LTC_LITOSHI), description="", expires_in_s=600, preimage=PREIMAGE)

    made = await rail.create_invoice(asked)
    node.settle(node.invoices[0], paid_msat=22_500)
    found = await rail.lookup_invoice(made.reference)
    listed = [invoice async for invoice in rail.invoices()]
    told = await _first(rail)

    assert (rail.asset, rail.name) == (LTC_MSAT, "rail")
    assert found.received == Money(22_500, LTC_MSAT)
    assert [invoice.received for invoice in listed] == [Money(22_500, LTC_MSAT)]
    assert told.received == Money(22_500, LTC_MSAT)


async def test_bitcoin_is_no_money_on_a_rail_of_litecoin(node: Any, connect: Connect) -> None:
    rail = connect(LITECOIN, "regtest")

    with pytest.raises(ValueError, match="without a rate"):
        await rail.create_invoice(order(BITCOIN))
    assert node.calls == []


async def _start(directory: Path, port: int, *, network: str) -> str | None:
    """Start a process on the tiny node, and return why it refuses, if it does."""
    settings = load_settings(
        state_dir=directory,
        lnd_address=f"127.0.0.1:{port}",
        lnd_tls_cert_path=directory / "tls.cert",
        lnd_macaroon_path=directory / "macaroon",
        lnd_network=network,
    )
    await upgrade_from_loop(settings.database_url)
    try:
        async with open_runtime(settings, loops=False):
            return None
    except StartRefused as refused:
        return str(refused)


async def _first(rail: LndProvider) -> Settlement:
    feed = rail.settlements(resume=None)
    try:
        async for told in feed:
            if isinstance(told, Settlement):
                return told
    finally:
        await feed.aclose()
    raise AssertionError("nothing settled")

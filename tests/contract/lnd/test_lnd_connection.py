"""Health, and the encrypted channel with its macaroon."""

from typing import Any

import grpc.aio
import pytest
from pydantic import SecretStr
from tests.contract.lnd.tls import certificate

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.providers.base import InvoiceStatus, ProviderHealth
from quittance.providers.lnd._proto import lnrpc_pb2, staterpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider

MACAROON = "0201036C6E64"
REFERENCE = "11" * 32


def connection(port: int, cert: bytes, **changes: Any) -> LndConnection:
    return LndConnection(address=f"127.0.0.1:{port}", tls_cert=cert, macaroon=SecretStr(MACAROON), **changes)


@pytest.mark.parametrize("name", [None, "node"])
async def test_every_call_carries_the_macaroon_in_lower_case(
    node: Any, tls_node: tuple[int, bytes], name: str | None
) -> None:
    port, cert = tls_node
    provider = LndProvider(open_channel(connection(port, cert, tls_name_override=name)), network="regtest")

    assert (await provider.lookup_invoice(REFERENCE)).status is InvoiceStatus.MISSING
    assert (await provider.health()).ready
    assert node.macaroons == [MACAROON.lower()] * len(node.calls)
    await provider.aclose()


async def test_another_certificate_is_a_matter_for_the_operator(tls_node: tuple[int, bytes]) -> None:
    port, _ = tls_node
    provider = LndProvider(open_channel(connection(port, certificate()[1])), network="regtest")

    with pytest.raises(ProviderMisconfigured, match="certificate"):
        await provider.lookup_invoice(REFERENCE)
    await provider.aclose()


async def test_a_name_that_the_certificate_lacks_is_refused(tls_node: tuple[int, bytes]) -> None:
    port, cert = tls_node
    provider = LndProvider(open_channel(connection(port, cert, tls_name_override="other")), network="regtest")

    with pytest.raises(ProviderMisconfigured, match="certificate"):
        await provider.lookup_invoice(REFERENCE)
    await provider.aclose()


async def test_a_server_without_tls_is_a_matter_for_the_operator(node: Any) -> None:
    server = grpc.aio.server()
    node.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    provider = LndProvider(open_channel(connection(port, certificate()[1])), network="regtest")

    with pytest.raises((ProviderMisconfigured, ProviderUnavailable)):
        await provider.lookup_invoice(REFERENCE)
    assert node.macaroons == []
    await provider.aclose()
    await server.stop(grace=None)


@pytest.mark.parametrize("macaroon", ["not hex", ""])
def test_a_macaroon_that_is_not_hex_is_refused_without_telling_it(macaroon: str) -> None:
    broken = LndConnection(address="127.0.0.1:1", tls_cert=certificate()[1], macaroon=SecretStr(macaroon))

    with pytest.raises(ProviderMisconfigured) as refused:
        open_channel(broken)

    assert "not hex;" in refused.value.message or "empty" in refused.value.message
    assert MACAROON not in repr(connection(1, b""))


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="moonnet"):
        LndProvider(None, network="moonnet")  # type: ignore[arg-type]


async def test_a_node_that_is_synced_on_our_network_is_ready(lnd: LndProvider) -> None:
    assert await lnd.health() == ProviderHealth(ready=True, detail="synced on bitcoin regtest")


@pytest.mark.parametrize(
    ("state", "part"),
    [
        (staterpc_pb2.NON_EXISTING, "no wallet"),
        (staterpc_pb2.LOCKED, "locked"),
        (staterpc_pb2.UNLOCKED, "starting"),
        (staterpc_pb2.RPC_ACTIVE, "starting"),
        (staterpc_pb2.WAITING_TO_START, "waits"),
        (77, "do not know"),
    ],
)
async def test_a_node_that_is_not_active_says_why(lnd: LndProvider, node: Any, state: Any, part: str) -> None:
    node.answer_with("GetState", staterpc_pb2.GetStateResponse(state=state))

    health = await lnd.health()

    assert health.ready is False
    assert part in health.detail


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (
            {"synced_to_chain": True, "chains": [lnrpc_pb2.Chain(network="mainnet")]},
            "the node is on bitcoin mainnet, we are set to bitcoin regtest",
        ),
        ({"synced_to_chain": True}, "the node is on no network, we are set to bitcoin regtest"),
        ({"chains": [lnrpc_pb2.Chain(network="regtest")]}, "the node is not synced to the chain"),
    ],
)
async def test_a_node_on_another_network_or_behind_is_not_ready(
    lnd: LndProvider, node: Any, facts: dict[str, Any], detail: str
) -> None:
    node.answer_with("GetInfo", lnrpc_pb2.GetInfoResponse(**facts))

    assert await lnd.health() == ProviderHealth(ready=False, detail=detail, wrong_network="set to" in detail)


async def test_health_with_a_receive_only_macaroon_reads_the_newest_invoice(lnd: LndProvider, node: Any) -> None:
    node.refuse("GetInfo", "permission denied")

    unverified = await lnd.health()
    node.add(b"\x01" * 32)
    same = await lnd.health()
    node.prefix = "bc"
    node.add(b"\x02" * 32)
    other = await lnd.health()

    assert unverified == ProviderHealth(ready=True, detail="network not verified: macaroon lacks info:read")
    assert same == ProviderHealth(ready=True, detail="makes invoices for bitcoin regtest; macaroon lacks info:read")
    assert other == ProviderHealth(
        ready=False, detail="the node makes invoices for another network than bitcoin regtest", wrong_network=True
    )


@pytest.mark.parametrize("call", ["LookupInvoice", "CancelInvoice"])
async def test_a_macaroon_that_may_not_read_or_change_invoices_is_not_ready(
    lnd: LndProvider, node: Any, call: str
) -> None:
    node.refuse(call, "permission denied")
    refused = await lnd.health()
    del node.faults[call]

    assert refused == ProviderHealth(
        ready=False, detail="the macaroon may not receive; it needs invoices:read and invoices:write"
    )
    assert (await lnd.health()).ready


async def test_what_the_macaroon_may_is_asked_once(lnd: LndProvider, node: Any) -> None:
    assert [(await lnd.health()).ready for _ in range(3)] == [True] * 3

    assert node.calls.count("CancelInvoice") == node.calls.count("LookupInvoice") == 1


async def test_a_node_without_its_sub_servers_is_not_ready(lnd: LndProvider, node: Any) -> None:
    node.refuse("CancelInvoice", "unknown service invoicesrpc.Invoices", grpc.StatusCode.UNIMPLEMENTED)

    assert "sub-servers" in (await lnd.health()).detail


async def test_a_node_that_is_not_there_says_so_and_not_that_a_payer_may_retry() -> None:
    provider = LndProvider(grpc.aio.insecure_channel("127.0.0.1:1"), network="regtest", timeout_s=2)

    assert await provider.health() == ProviderHealth(ready=False, detail="nobody listens at the node's address")
    await provider.aclose()


@pytest.mark.parametrize("cert", [b"no certificate", b""])
def test_a_file_that_holds_no_certificate_never_means_to_trust_everybody(cert: bytes) -> None:
    with pytest.raises(ProviderMisconfigured, match="no certificate"):
        open_channel(connection(1, cert))


async def test_a_certificate_that_cannot_be_read_is_a_matter_for_the_operator(
    node: Any, tls_node: tuple[int, bytes]
) -> None:
    port, cert = tls_node
    provider = LndProvider(open_channel(connection(port, cert.replace(b"MII", b"???"))), network="regtest")

    with pytest.raises(ProviderMisconfigured, match="no certificate"):
        await provider.lookup_invoice(REFERENCE)
    assert node.macaroons == []
    await provider.aclose()


async def test_a_node_that_was_long_away_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda *_, **given: options.update(given["options"]))

    open_channel(connection(1, certificate()[1]))

    assert options["grpc.max_reconnect_backoff_ms"] <= 5_000


@pytest.mark.parametrize("text", ["verification failed", "wallet locked", "nobody knows", "permission denied"])
async def test_health_never_raises(lnd: LndProvider, node: Any, text: str) -> None:
    for name in ("GetState", "GetInfo", "ListInvoices"):
        node.refuse(name, text)

    assert (await lnd.health()).ready is False

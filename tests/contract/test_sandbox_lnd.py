"""A sandbox node refuses and answers what LND does: access, invoices, messages."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from quittance.domain import bolt11
from quittance.providers.lnd._proto import invoicesrpc_pb2 as invoices
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import staterpc_pb2 as state
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.lnd import macaroons, permissions
from quittance.sandbox.lnd.keys import recover
from quittance.sandbox.rails import SandboxBusy, SandboxRails

UNKNOWN = grpc.StatusCode.UNKNOWN


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_the_wire_is_lnds() -> None:
    invoice = ln.Invoice(memo="order 1", value_msat=1500, expiry=600)

    assert invoice.SerializeToString().hex() == "0a076f72646572203158d804b801dc0b"
    assert ln.InvoiceSubscription(add_index=7, settle_index=300).SerializeToString().hex() == "080710ac02"


async def test_a_call_without_a_macaroon_is_refused(merchant: Any) -> None:
    code, text = await refusal(merchant.lightning.GetInfo(ln.GetInfoRequest()))

    assert (code, text) == (UNKNOWN, "expected 1 macaroon, got 0")


async def test_a_macaroon_of_another_node_is_refused(merchant: Any, alice: Any) -> None:
    code, text = await refusal(merchant.lightning.GetInfo(ln.GetInfoRequest(), metadata=alice.auth))

    assert (code, text) == (UNKNOWN, "verification failed: signature mismatch after caveat verification")


async def test_every_flipped_byte_of_a_macaroon_is_refused(rails: SandboxRails) -> None:
    raw = rails.lnd.macaroon_path.read_bytes()
    root_key = rails.nodes["merchant"].record.root_key

    assert macaroons.verify(raw, root_key=root_key, now=rails.clock.now()) == permissions.RECEIVE
    for place in range(raw.index(b"lnd") + 3, len(raw)):
        flipped = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(macaroons.MacaroonRefused):
            macaroons.verify(flipped, root_key=root_key, now=rails.clock.now())


async def test_a_restricted_macaroon_ends_with_its_time(rails: SandboxRails, merchant: Any) -> None:
    raw = macaroons.restrict(rails.lnd.macaroon_path.read_bytes(), "time-before 2999-01-01T00:00:00Z")
    ended = macaroons.restrict(raw, "time-before 2001-01-01T00:00:00Z")

    await merchant.lightning.GetInfo(ln.GetInfoRequest(), metadata=(("macaroon", raw.hex()),))
    code, text = await refusal(merchant.lightning.GetInfo(ln.GetInfoRequest(), metadata=(("macaroon", ended.hex()),)))

    assert code == UNKNOWN
    assert "macaroon has expired" in text


async def test_the_receiving_macaroon_cannot_sign_or_spend(connect: Any) -> None:
    client = connect("merchant", "receive.macaroon")

    await client.lightning.GetInfo(ln.GetInfoRequest(), metadata=client.auth)
    code, text = await refusal(client.lightning.SignMessage(ln.SignMessageRequest(msg=b"x"), metadata=client.auth))

    assert (code, text) == (UNKNOWN, "permission denied")
    assert ("offchain", "write") not in permissions.RECEIVE


async def test_the_invoice_macaroon_does_not_open_get_info(connect: Any) -> None:
    client = connect("merchant", "invoice.macaroon")

    await client.lightning.AddInvoice(ln.Invoice(value=1), metadata=client.auth)
    code, text = await refusal(client.lightning.GetInfo(ln.GetInfoRequest(), metadata=client.auth))

    assert (code, text) == (UNKNOWN, "permission denied")


async def test_state_is_told_without_a_macaroon(merchant: Any) -> None:
    answer = await merchant.state.GetState(state.GetStateRequest())

    assert answer.state == state.SERVER_ACTIVE


async def test_get_info_names_key_network_and_version(rails: SandboxRails, merchant: Any) -> None:
    info = await merchant.lightning.GetInfo(ln.GetInfoRequest(), metadata=merchant.auth)

    assert info.identity_pubkey == rails.nodes["merchant"].pubkey
    assert [(chain.chain, chain.network) for chain in info.chains] == [("bitcoin", "regtest")]
    assert info.version.startswith("0.21.2-beta")
    assert info.synced_to_chain


async def test_an_invoice_is_signed_by_its_node(rails: SandboxRails, merchant: Any) -> None:
    preimage = os.urandom(32)
    answer = await merchant.lightning.AddInvoice(
        ln.Invoice(memo="order ✓", value_msat=1_234_567, expiry=600, r_preimage=preimage), metadata=merchant.auth
    )

    invoice = bolt11.decode(answer.payment_request, recover=recover)

    assert invoice.payee == rails.nodes["merchant"].pubkey
    assert (invoice.prefix, invoice.amount_msat, invoice.description) == ("bcrt", 1_234_567, "order ✓")
    assert (invoice.expiry_s, invoice.min_final_cltv_delta) == (600, 80)
    assert invoice.payment_hash == sha256(preimage).hexdigest() == answer.r_hash.hex()
    assert invoice.payment_secret == answer.payment_addr.hex()
    decoded = await merchant.lightning.DecodePayReq(
        ln.PayReqString(pay_req=answer.payment_request), metadata=merchant.auth
    )
    assert (decoded.destination, decoded.num_msat) == (invoice.payee, 1_234_567)


@pytest.mark.parametrize(
    ("invoice", "text"),
    [
        (ln.Invoice(value=1, value_msat=1000), "sat and msat arguments are mutually exclusive"),
        (ln.Invoice(value=-1), "amount cannot be negative"),
        (ln.Invoice(value_msat=-1), "amount cannot be negative"),
        (ln.Invoice(value=100_000 * 10**8 + 1), "is too large"),
        (ln.Invoice(memo="x" * 1025), "memo too large: 1025 bytes (maxsize=1024)"),
        (ln.Invoice(memo="x" * 640), "data length too big to fit within 10 bits"),
        (ln.Invoice(description_hash=b"x"), "description hash is 1 bytes, must be 32"),
        (ln.Invoice(expiry=365 * 86_400 + 1), "expiry of 31536001 seconds greater than max expiry"),
        (ln.Invoice(cltv_expiry=23), "CLTV delta of 23"),
        (ln.Invoice(cltv_expiry=65_536), "CLTV delta of 65536"),
        (ln.Invoice(r_preimage=b"short"), "invalid preimage length of 5, want 32"),
    ],
)
async def test_what_lnd_does_not_make_is_not_made(
    rails: SandboxRails, merchant: Any, invoice: ln.Invoice, text: str
) -> None:
    code, given = await refusal(merchant.lightning.AddInvoice(invoice, metadata=merchant.auth))

    assert code == UNKNOWN
    assert text in given
    assert len(rails.nodes["merchant"].invoices) == 0


async def test_the_same_preimage_makes_one_invoice(rails: SandboxRails, merchant: Any) -> None:
    invoice = ln.Invoice(value=5, r_preimage=b"p" * 32)
    first = await merchant.lightning.AddInvoice(invoice, metadata=merchant.auth)

    code, text = await refusal(merchant.lightning.AddInvoice(invoice, metadata=merchant.auth))

    assert (code, text) == (UNKNOWN, "invoice with payment hash already exists")
    found = await merchant.lightning.LookupInvoice(
        ln.PaymentHash(r_hash=sha256(b"p" * 32).digest()), metadata=merchant.auth
    )
    assert found.payment_request == first.payment_request
    assert len(rails.nodes["merchant"].invoices) == 1


async def test_an_unknown_invoice_is_not_found(merchant: Any) -> None:
    unknown = ln.PaymentHash(r_hash=b"h" * 32)
    none_yet = await refusal(merchant.lightning.LookupInvoice(unknown, metadata=merchant.auth))
    await merchant.lightning.AddInvoice(ln.Invoice(value=1), metadata=merchant.auth)

    found = await refusal(merchant.lightning.LookupInvoice(unknown, metadata=merchant.auth))
    second = await refusal(
        merchant.invoices.LookupInvoiceV2(invoices.LookupInvoiceMsg(payment_hash=b"h" * 32), metadata=merchant.auth)
    )
    unset = await refusal(merchant.invoices.LookupInvoiceV2(invoices.LookupInvoiceMsg(), metadata=merchant.auth))

    assert none_yet == (grpc.StatusCode.NOT_FOUND, "there are no existing invoices")
    assert found == second == (grpc.StatusCode.NOT_FOUND, "unable to locate invoice")
    assert unset == (grpc.StatusCode.INVALID_ARGUMENT, "invoice ref must be set")


async def test_an_unpaid_invoice_is_canceled_after_its_expiry(rails: SandboxRails, merchant: Any) -> None:
    answer = await merchant.lightning.AddInvoice(ln.Invoice(value=1, expiry=60), metadata=merchant.auth)
    lookup = ln.PaymentHash(r_hash=answer.r_hash)
    rails.clock.advance(58)
    before = await merchant.lightning.LookupInvoice(lookup, metadata=merchant.auth)

    rails.clock.advance(4)
    after = await merchant.lightning.LookupInvoice(lookup, metadata=merchant.auth)

    assert before.state == ln.Invoice.OPEN
    assert after.state == ln.Invoice.CANCELED


async def test_pages_of_invoices_follow_the_add_index(rails: SandboxRails, merchant: Any) -> None:
    added = [await merchant.lightning.AddInvoice(ln.Invoice(value=n), metadata=merchant.auth) for n in range(1, 8)]
    await rails.pay(added[1].payment_request)

    async def page(**arguments: Any) -> tuple[list[int], int, int]:
        answer = await merchant.lightning.ListInvoices(ln.ListInvoiceRequest(**arguments), metadata=merchant.auth)
        return [one.add_index for one in answer.invoices], answer.first_index_offset, answer.last_index_offset

    assert await page(num_max_invoices=3) == ([1, 2, 3], 1, 3)
    assert await page(num_max_invoices=3, index_offset=3) == ([4, 5, 6], 4, 6)
    assert await page(num_max_invoices=3, index_offset=7) == ([], 0, 0)
    assert await page(num_max_invoices=3, reversed=True) == ([5, 6, 7], 5, 7)
    assert await page(num_max_invoices=3, reversed=True, index_offset=5) == ([2, 3, 4], 2, 4)
    assert await page(pending_only=True) == ([1, 3, 4, 5, 6, 7], 1, 7)


async def test_messages_are_signed_as_lnd_signs(rails: SandboxRails, merchant: Any) -> None:
    message = ln.VerifyMessageRequest(
        msg=b"is this compatible?",
        signature="rbgfioj114mh48d8egqx8o9qxqw4fmhe8jbeeabdioxnjk8z3t1ma1hu1fiswpakgucwwzwo6ofycffbsqusqdimugbh41n1g698hr9t",
    )
    foreign = await merchant.lightning.VerifyMessage(message, metadata=merchant.auth)
    signature, pubkey = rails.sign_message(b"hi", node="bob")
    own = await merchant.lightning.VerifyMessage(
        ln.VerifyMessageRequest(msg=b"hi", signature=signature), metadata=merchant.auth
    )
    broken = await refusal(
        merchant.lightning.VerifyMessage(ln.VerifyMessageRequest(msg=b"hi", signature="!"), metadata=merchant.auth)
    )

    key = "02b80cabdf82638aac86948e4c06e82064f547768dcef977677b9ea931ea75bab5"
    assert (foreign.valid, foreign.pubkey) == (False, key)
    assert (own.valid, own.pubkey) == (True, pubkey)
    assert broken[0] == UNKNOWN
    assert broken[1].startswith("failed to decode signature")


async def test_what_was_answered_outlives_the_rails(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock.json")
    rails = await SandboxRails.start(directory=tmp_path, clock=clock)
    node = rails.nodes["merchant"]
    order = (await _add(rails, value=7), await _add(rails, value=8))
    await rails.pay(order[0])
    address, pubkey = rails.lnd.address, node.pubkey
    with pytest.raises(SandboxBusy):
        await SandboxRails.start(directory=tmp_path, clock=clock)
    assert await SandboxRails.try_start(directory=tmp_path, clock=clock) is None
    await rails.stop()

    rails = await SandboxRails.start(directory=tmp_path, clock=clock)
    await rails.pay(order[1], node="bob")

    again = rails.nodes["merchant"]
    assert (rails.lnd.address, again.pubkey) == (address, pubkey)
    assert again.balance_msat == 15_000
    assert [one.settle_index for one in again.invoices.values()] == [1, 2]
    await rails.stop()


async def _add(rails: SandboxRails, *, value: int) -> str:
    tls = grpc.ssl_channel_credentials(rails.lnd.tls_cert_path.read_bytes())
    async with grpc.aio.secure_channel(rails.lnd.address, tls) as channel:
        call = channel.unary_unary(
            "/lnrpc.Lightning/AddInvoice", ln.Invoice.SerializeToString, ln.AddInvoiceResponse.FromString
        )
        auth = (("macaroon", rails.lnd.macaroon_path.read_bytes().hex()),)
        answer = await call(ln.Invoice(value=value), metadata=auth)
    return str(answer.payment_request)

"""What LNPay shops read and write, and the settings of their door."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from quittance.domain.errors import ForbiddenAddress, InvalidAmount, InvalidInput
from quittance.domain.ids import MerchantId, OptionId, PaymentId
from quittance.domain.lnpay import order_answer, read_amount, read_texts, shop_notice
from quittance.domain.money import LTC_MSAT, Money, msat
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentPurpose, PaymentStatus
from quittance.providers.outgoing import check_url
from quittance.server.outgoing import outgoing_rules
from quittance.server.settings import SettingsError, load_settings

AT = datetime(2026, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
PAYMENT = Payment(
    id=PaymentId("pay_1"),
    merchant_id=MerchantId("mer_1"),
    viewer="mer_1",
    status=PaymentStatus.PENDING_PAYMENT,
    status_reason=None,
    purpose=PaymentPurpose.ORDER,
    provider="lnd",
    amount=msat(5_263_000),
    received=None,
    article_id=None,
    description=None,
    correlation_id=None,
    refund_address=None,
    expires_in_s=120,
    created_at=AT,
    modified_at=AT,
    expires_at=AT,
    settled_at=None,
)
OPTION = PaymentOption(
    id=OptionId("opt_1"),
    payment_id=PAYMENT.id,
    provider="lnd",
    state=OptionState.OPEN,
    reference="00" * 32,
    amount=PAYMENT.amount,
    payment_request="lnbcrt1",
    created_at=AT,
    expires_at=AT,
)


@pytest.mark.parametrize(
    ("said", "amount"),
    [("1", "1"), ("1.00", "1.00"), ("1,5", "1.5"), ("0.01", "0.01"), (" 007,30\n", "7.30"), ("1" * 15, "1" * 15)],
)
def test_an_amount_is_digits_with_a_point_or_a_comma(said: str, amount: str) -> None:
    assert read_amount(said) == Decimal(amount)


@pytest.mark.parametrize(
    "said", [None, 1, 1.5, True, [], {}, "", ".", ",", "1.", ".1", "1.1.1", "1,1.1", "-1", "+1", "1e2", "1E2", "nan",
             "inf", "0", "0.000", "0x1", "1 0", "1_0", "²", "\uff11", "1" * 16, "1.123456789", "1\x00"],
)  # fmt: skip
def test_what_else_is_no_amount(said: object) -> None:
    with pytest.raises(InvalidAmount, match=r"^amount_fiat is "):
        read_amount(said)


@pytest.mark.parametrize("nothing", [{}, {"description": None}, {"description": ""}, {"description": " \n"}])
def test_what_is_empty_is_not_there(nothing: dict[str, Any]) -> None:
    assert read_texts(nothing) == {"ln_address": None, "description": None, "correlation_id": None}


@pytest.mark.parametrize("name", ["ln_address", "description", "correlation_id"])
@pytest.mark.parametrize("said", [1, False, [], {}])
def test_what_is_no_text_is_refused_by_name(name: str, said: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_texts({name: said})

    assert refused.value.field == name


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (msat(5_263_000), "0.00005263"),
        (msat(1_000), "0.00000001"),
        (msat(1), "0.00000000001"),
        (msat(1_500), "0.000000015"),
        (msat(100_000_000_000), "1.00000000"),
        (msat(2_100_000_000_000_000_000), "21000000.00000000"),
        (Money(12_345_678, LTC_MSAT), "0.00012345678"),
    ],
)
def test_l6_amounts_are_written_as_strike_writes_them(amount: Money, written: str) -> None:
    data: Any = order_answer(replace(PAYMENT, amount=amount), replace(OPTION, amount=amount), qr_code="")

    assert (
        data["quote"]["sourceAmount"]
        == data["invoice"]["amount"]
        == {
            "amount": written,
            "currency": amount.asset.code,
        }
    )
    assert Decimal(written) == amount.decimal


def test_s4_times_are_written_with_their_offset_so_that_javascript_reads_them() -> None:
    data: Any = order_answer(PAYMENT, OPTION, qr_code="")

    assert data["expiration_time"] == data["quote"]["expiration"] == "2026-05-01T12:00:00.123+00:00"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (PaymentStatus.PENDING_INVOICE, "UNPAID"),
        (PaymentStatus.PENDING_PAYMENT, "UNPAID"),
        (PaymentStatus.HELD, "UNPAID"),
        (PaymentStatus.EXPIRED, "UNPAID"),
        (PaymentStatus.ERROR, "UNPAID"),
        (PaymentStatus.CANCELED, "CANCELLED"),
        (PaymentStatus.COMPLETE, "PAID"),
    ],
)
def test_a_state_is_said_in_strike_s_words(status: PaymentStatus, state: str) -> None:
    data: Any = order_answer(replace(PAYMENT, status=status), OPTION, qr_code="")

    assert data["invoice"]["state"] == state


def test_l22_a_notice_is_always_the_same_bytes() -> None:
    expected = b'{"status":"success","message":"Payment processed successfully!","invoice":"lnbc1x"}'
    assert shop_notice("lnbc1x") == expected


def test_the_door_is_shut_wants_a_key_and_knows_the_seed_s_addresses_unless_it_is_set() -> None:
    settings = load_settings(sandbox=False, lnd_address=None)

    assert (settings.doors, settings.lnpay_require_key, settings.refund_address_check) == ([], True, True)
    assert settings.lnpay_shop_url == "http://localhost:8000/webhook"
    assert (settings.lnpay_currency, settings.lnpay_expires_in_s) == ("USD", 120)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"doors": "lnpay,other"}, "QUITTANCE_DOORS: "),
        (
            {"sandbox": False, "lnpay_require_key": False},
            "QUITTANCE_LNPAY_REQUIRE_KEY may be false in sandbox mode only",
        ),
        ({"lnpay_currency": "dollars"}, "QUITTANCE_LNPAY_CURRENCY: "),
        ({"lnpay_currency": "BTC"}, "QUITTANCE_LNPAY_CURRENCY: "),
        ({"lnpay_shop_url": "localhost:8000/webhook"}, "QUITTANCE_LNPAY_SHOP_URL: "),
        ({"lnpay_expires_in_s": 0}, "QUITTANCE_LNPAY_EXPIRES_IN_S: "),
        ({"lnpay_expires_in_s": 100, "expires_in_s_max": 99}, "QUITTANCE_LNPAY_EXPIRES_IN_S is above"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(said: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**said)

    assert refused.value.lines[0].startswith(line), refused.value.lines


def test_a_currency_may_be_written_as_the_seed_s_own_settings_do() -> None:
    assert load_settings(lnpay_currency="eur").lnpay_currency == "EUR"


def test_only_a_sandbox_lets_a_shop_in_without_a_key() -> None:
    assert load_settings(sandbox=True, lnpay_require_key=False, doors="lnpay").doors == ["lnpay"]


def test_what_calls_the_shop_may_call_where_no_merchant_s_address_leads() -> None:
    settings = load_settings(sandbox=False)
    own, others = outgoing_rules(settings, anywhere=True), outgoing_rules(settings)

    for url in ("http://localhost:8000/webhook", "http://10.0.0.5/webhook", "http://[fd00::1]:8000/webhook"):
        check_url(url, rules=own)
        with pytest.raises(ForbiddenAddress):
            check_url(url, rules=others)

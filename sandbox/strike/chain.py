"""Paying on the chain, which the sandbox does not have: such payments stay pending until enough time has passed."""

from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.money import BTC, Money, check_amount, converted, msat_of_btc
from quittance.sandbox.strike.quoting import INCLUSIVE, Price, Quoting, amount_with_policy, check_beneficiary
from quittance.sandbox.strike.refusals import BAD_CURRENCY, REQUIRED, invalid_field, unprocessable

_ADDRESS_MAX: Final = 100
_DESCRIPTION_MAX: Final = 250
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VERSIONS: Final = frozenset({0x6F, 0xC4})  # of test networks
_BASE58_BYTES: Final = 25
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_PREFIXES: Final = frozenset({"bcrt", "tb"})
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECK_V0: Final = 1
_CHECK_LATER: Final = 0x2BC830A3
_PROGRAM_SYMBOLS_V0: Final = frozenset({32, 52})  # of 20 and of 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    id: str
    duration_min: int
    fee: Money
    minimum: Money | None = None


TIERS: Final = (
    Tier(id="tier_fast", duration_min=10, fee=Money(value=Decimal("0.00002000"), currency=BTC)),
    Tier(
        id="tier_free",
        duration_min=1_440,
        fee=Money(value=Decimal("0.00000000"), currency=BTC),
        minimum=Money(value=Decimal("0.00050000"), currency=BTC),
    ),
)


class Chain:
    """Quotes for payments to addresses of test networks."""

    def __init__(self, account: Account, quoting: Quoting) -> None:
        self._account = account
        self._quoting = quoting

    def tiers(self, call: Call) -> Answer:
        address = call.given.needed_text("btcAddress", size_max=_ADDRESS_MAX)
        amount = call.given.needed_money("amount")
        _check_address(address)
        check_amount(amount, at=self._account.now())
        return Answer(body=[self._shown(tier, amount.currency) for tier in TIERS])

    def quote(self, call: Call) -> Answer:
        given = call.given
        for name in ("sourceCurrency", "amount"):
            given.required(name)
        address = given.needed_text("btcAddress", size_max=_ADDRESS_MAX)
        tier_id = given.needed_text("onchainTierId", size_max=64)
        description = given.text("description", size_max=_DESCRIPTION_MAX)
        source, asked = self._quoting.source(given), amount_with_policy(given)
        within = given.within("amount")
        if within is not None and "feePolicy" not in within:
            within.flaw("feePolicy", REQUIRED, "The feePolicy field is required.")
        check_beneficiary(given)
        given.check()
        assert asked is not None, "else there was a flaw"
        self._quoting.check_key(call)
        _check_address(address)
        tier = next((one for one in TIERS if one.id == tier_id), None)
        if tier is None:
            raise invalid_field("onchainTierId", "There is no such tier.")
        quote = self._quoting.of_price(call, self._priced(asked, tier, source=source))
        chosen = replace(quote, address=address, description=description, duration_min=tier.duration_min)
        return self._quoting.quoted(chosen)

    def _priced(self, asked: tuple[Money, str], tier: Tier, *, source: str) -> Price:
        now, (money, policy) = self._account.now(), asked
        if money.currency not in {BTC, source}:
            raise invalid_field("amount.currency", f"The amount is in BTC or {source}.", code=BAD_CURRENCY)
        check_amount(money, at=now)
        sent = converted(money, BTC, at=now, up=False)
        fee, amount = converted(tier.fee, source, at=now, up=True), converted(money, source, at=now, up=True)
        if policy == INCLUSIVE:
            sent = replace(sent, value=sent.value - tier.fee.value)
            amount = replace(amount, value=amount.value - fee.value)
        if sent.value <= 0 or amount.value <= 0 or (tier.minimum is not None and sent.value < tier.minimum.value):
            raise unprocessable("AMOUNT_TOO_LOW", "Amount is too low.")
        return Price(msat=msat_of_btc(sent.value), amount=amount, fee=fee)

    def _shown(self, tier: Tier, currency: str) -> dict[str, Any]:
        now = self._account.now()
        body: dict[str, Any] = {
            "id": tier.id,
            "estimatedDeliveryDurationInMin": tier.duration_min,
            "estimatedFee": converted(tier.fee, currency, at=now, up=True).shown(),
        }
        if tier.minimum is not None:
            body["minimumAmount"] = converted(tier.minimum, currency, at=now, up=True).shown()
        return body


def _check_address(address: str) -> None:
    """Accept an address of a test network, as Strike's own sandbox lives on one.

    Raises:
        Refused: it is none.
    """
    if not (_is_segwit(address) or _is_base58(address)):
        raise unprocessable("INVALID_BITCOIN_ADDRESS", "The bitcoin address is not valid.")


def _is_base58(address: str) -> bool:
    if not address or any(character not in _BASE58 for character in address):
        return False
    number = 0
    for character in address:
        number = number * len(_BASE58) + _BASE58.index(character)
    if number >= 1 << 8 * _BASE58_BYTES:
        return False
    content = number.to_bytes(_BASE58_BYTES)
    return content[0] in _BASE58_VERSIONS and sha256(sha256(content[:21]).digest()).digest()[:4] == content[21:]


def _is_segwit(address: str) -> bool:
    """Tell whether this is a witness address (BIP-173, BIP-350)."""
    if address not in (address.lower(), address.upper()):
        return False
    prefix, _, tail = address.lower().rpartition("1")
    if prefix not in _BECH32_PREFIXES or len(tail) < 8 or any(character not in _BECH32 for character in tail):
        return False
    symbols = [_BECH32.index(character) for character in tail]
    program = len(symbols) - 7
    if symbols[0] == 0:
        return _polymod(prefix, symbols) == _CHECK_V0 and program in _PROGRAM_SYMBOLS_V0
    return _polymod(prefix, symbols) == _CHECK_LATER and symbols[0] <= 16 and 4 <= program <= 64


def _polymod(prefix: str, symbols: list[int]) -> int:
    check = 1
    for value in [*(ord(one) >> 5 for one in prefix), 0, *(ord(one) & 31 for one in prefix), *symbols]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check

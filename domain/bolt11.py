"""BOLT11 invoices: read strictly, write shortly. The curve is the caller's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from quittance.domain import bech32
from quittance.domain.errors import QuittanceError

DESCRIPTION_BYTES_MAX: Final = 639
_TEXT_MAX: Final = 7_089  # what the largest QR code holds; LND's limit too
_TIMESTAMP_SYMBOLS: Final = 7
_SIGNATURE_SYMBOLS: Final = 104
_EXPIRY_S_MAX: Final = 2**35 - 1  # as wide as the timestamp, so that their sum is always a date
_HOP_BYTES: Final = 51
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_FEATURES_KNOWN: Final = frozenset({8, 14, 16, 48})  # onion in TLV, payment secret, several parts, metadata
_LND_FEATURES: Final = frozenset({8, 14, 17})

_HASH, _HINT, _FEATURES, _EXPIRY, _FALLBACK, _DESCRIPTION, _SECRET, _PAYEE, _DESCRIPTION_HASH, _CLTV, _METADATA = (
    1, 3, 5, 6, 9, 13, 16, 19, 23, 24, 27,
)  # fmt: skip
_FIXED_SYMBOLS: Final[Mapping[int, int]] = {_HASH: 52, _SECRET: 52, _DESCRIPTION_HASH: 52, _PAYEE: 53}
_REPEATABLE: Final = frozenset({_HINT, _FALLBACK})
_KNOWN: Final = _REPEATABLE | {_FEATURES, _EXPIRY, _DESCRIPTION, _CLTV, _METADATA} | _FIXED_SYMBOLS.keys()

_PREFIX: Final = re.compile("ln(bcrt|bc|tbs|tb|sb|ltc|tltc|rltc)(?:([0-9]{1,20})([munp]?))?")
_PREFIXES: Final = frozenset({"bc", "tb", "tbs", "bcrt", "sb", "ltc", "tltc", "rltc"})
_TENTHS_OF_MSAT: Final[Mapping[str, int]] = {
    "": 1_000_000_000_000,
    "m": 1_000_000_000,
    "u": 1_000_000,
    "n": 1_000,
    "p": 1,
}


class MalformedInvoice(QuittanceError):
    """The text is not an invoice that may be paid; ``reason`` says why."""

    code = "INVALID_INVOICE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"this is not a valid Lightning invoice: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteHop:
    """One channel of the way to a payee that the public graph does not show."""

    node: str
    channel: int
    fee_base_msat: int
    fee_ppm: int
    cltv_delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """An on-chain address in raw form: witness version 0 to 16 and program, or 17 (P2PKH), 18 (P2SH) and hash."""

    version: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bolt11:
    """A verified invoice: ``payee`` signed all of it. Hashes and keys are lower-case hex."""

    prefix: str
    amount_msat: int | None
    timestamp: int
    payment_hash: str
    payment_secret: str | None
    description: str | None
    description_hash: str | None
    expiry_s: int
    min_final_cltv_delta: int
    payee: str
    features: frozenset[int]
    route_hints: tuple[tuple[RouteHop, ...], ...]
    fallbacks: tuple[Fallback, ...]
    metadata: bytes | None

    @property
    def expires_at_s(self) -> int:
        """The last second, counted from 1970, at which a payment may start."""
        return self.timestamp + self.expiry_s


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedInvoice:
    """What an invoice will say. Exactly one of ``description`` and ``description_hash`` is given."""

    prefix: str
    amount_msat: int | None
    timestamp: int
    payment_hash: bytes
    payment_secret: bytes
    description: str | None
    description_hash: bytes | None = None
    expiry_s: int = 3600
    min_final_cltv_delta: int = 18
    features: frozenset[int] = _LND_FEATURES


def encode(invoice: UnsignedInvoice, *, sign: Callable[[bytes], bytes]) -> str:
    """Return the invoice's text; ``sign(digest)`` gives 65 bytes: R, S and the recovery id.

    Raises:
        ValueError: a field does not fit its place, which is the caller's mistake.
    """
    prefix = f"ln{_checked_prefix(invoice.prefix)}{_amount_text(invoice.amount_msat)}"
    value, count = _packed(invoice)
    signature = sign(sha256(prefix.encode() + _padded(value, count)).digest())
    if len(signature) != 65:
        raise ValueError("a signature has 65 bytes: R, S and the recovery id")
    signed = value << 5 * _SIGNATURE_SYMBOLS | int.from_bytes(signature)
    return bech32.encode(prefix, bech32.symbols_from_int(signed, count=count + _SIGNATURE_SYMBOLS))


def _padded(value: int, count: int) -> bytes:
    """Return ``count`` symbols as bytes, zero bits filling the last one: the signed form."""
    size = (count * 5 + 7) // 8
    return (value << size * 8 - count * 5).to_bytes(size)


def _checked_prefix(prefix: str) -> str:
    if prefix not in _PREFIXES:
        raise ValueError(f"{prefix!r} is no currency prefix")
    return prefix


def _amount_text(amount_msat: int | None) -> str:
    """Return the shortest way to write an amount."""
    if amount_msat is None:
        return ""
    if amount_msat <= 0:
        raise ValueError("an amount is positive")
    tenths = amount_msat * 10
    multiplier, unit = next(item for item in _TENTHS_OF_MSAT.items() if tenths % item[1] == 0)
    return f"{tenths // unit}{multiplier}"


def _packed(invoice: UnsignedInvoice) -> tuple[int, int]:
    """Return the data before the signature as one number, and how many symbols it has. The order is LND's."""
    value, count = invoice.timestamp, _TIMESTAMP_SYMBOLS
    if not 0 <= value < 2**35:
        raise ValueError("a timestamp has 35 bits")
    for tag, data, bits in _fields(invoice):
        length = (bits + 4) // 5
        value = ((value << 5 | tag) << 10 | length) << 5 * length | data << 5 * length - bits
        count += 3 + length
    return value, count


def _fields(invoice: UnsignedInvoice) -> list[tuple[int, int, int]]:
    """Return tag, content and its width in bits; a content is aligned to the left of its symbols."""
    features = sum(1 << bit for bit in invoice.features)
    return [
        _bytes_field(_HASH, invoice.payment_hash, size=32),
        _description_field(invoice),
        _number_field(_CLTV, invoice.min_final_cltv_delta),
        _number_field(_EXPIRY, invoice.expiry_s),
        _bytes_field(_SECRET, invoice.payment_secret, size=32),
        _number_field(_FEATURES, features),
    ]


def _description_field(invoice: UnsignedInvoice) -> tuple[int, int, int]:
    if (invoice.description is None) is (invoice.description_hash is None):
        raise ValueError("an invoice has a description or its hash, and not both")
    if invoice.description_hash is not None:
        return _bytes_field(_DESCRIPTION_HASH, invoice.description_hash, size=32)
    text = (invoice.description or "").encode()
    if len(text) > DESCRIPTION_BYTES_MAX:
        raise ValueError(f"a description has at most {DESCRIPTION_BYTES_MAX} bytes")
    return _bytes_field(_DESCRIPTION, text, size=len(text))


def _bytes_field(tag: int, content: bytes, *, size: int) -> tuple[int, int, int]:
    if len(content) != size:
        raise ValueError(f"field {tag} has {size} bytes")
    return tag, int.from_bytes(content), size * 8


def _number_field(tag: int, number: int) -> tuple[int, int, int]:
    if number < 0:
        raise ValueError(f"field {tag} is not negative")
    return tag, number, (number.bit_length() + 4) // 5 * 5

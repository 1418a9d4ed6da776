"""BOLT11 invoices: read strictly, write shortly. The curve is the caller's."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from quittance.domain import bech32
from quittance.domain.errors import QuittanceError
from quittance.domain.money import MONEY_VALUE_MAX

DESCRIPTION_BYTES_MAX: Final = 639
_TEXT_MAX: Final = 7_089  # what the largest QR code holds; LND's limit too
_TIMESTAMP_SYMBOLS: Final = 7
_SIGNATURE_SYMBOLS: Final = 104
_NUMBER_MAX: Final = 2**35 - 1  # as wide as the timestamp, so that timestamp and expiry always add up to a date
_SCHEME: Final = "lightning:"
_FALLBACK_VERSION_MAX: Final = 18
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
    features = [_number_field(_FEATURES, sum(1 << bit for bit in invoice.features))] if invoice.features else []
    return [
        _bytes_field(_HASH, invoice.payment_hash, size=32),
        _description_field(invoice),
        _number_field(_CLTV, invoice.min_final_cltv_delta),
        _number_field(_EXPIRY, invoice.expiry_s),
        _bytes_field(_SECRET, invoice.payment_secret, size=32),
        *features,
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


def decode(text: str, *, recover: Callable[[bytes, bytes], bytes], require_secret: bool = True) -> Bolt11:
    """Read and verify an invoice; ``lightning:`` may precede it.

    ``recover(digest, signature)`` takes R, S and the recovery id, gives the compressed key that signed, and raises
    :class:`ValueError` where there is none.

    Raises:
        MalformedInvoice: whatever is wrong with it, for every text.
    """
    prefix, symbols = _symbols(text)
    currency, amount_msat = _read_prefix(prefix)
    if len(symbols) < _TIMESTAMP_SYMBOLS + _SIGNATURE_SYMBOLS:
        raise MalformedInvoice("it is too short")
    body = symbols[:-_SIGNATURE_SYMBOLS]
    fields = _read_fields(body[_TIMESTAMP_SYMBOLS:])
    if _HASH not in fields or (require_secret and _SECRET not in fields):
        raise MalformedInvoice("it has no payment hash or no payment secret")
    if (_DESCRIPTION in fields) is (_DESCRIPTION_HASH in fields):
        raise MalformedInvoice("it needs a description or its hash, and not both")
    digest = sha256(prefix.encode() + _padded(bech32.int_from_symbols(body), len(body))).digest()
    signature = bech32.bytes_from_symbols(symbols[-_SIGNATURE_SYMBOLS:])
    return Bolt11(
        prefix=currency,
        amount_msat=amount_msat,
        timestamp=bech32.int_from_symbols(body[:_TIMESTAMP_SYMBOLS]),
        payment_hash=_hex(fields, _HASH) or "",
        payment_secret=_hex(fields, _SECRET),
        description=_read_description(fields),
        description_hash=_hex(fields, _DESCRIPTION_HASH),
        expiry_s=_number(fields, _EXPIRY, default=3600),
        min_final_cltv_delta=_number(fields, _CLTV, default=18),
        payee=_payee(_hex(fields, _PAYEE), digest=digest, signature=signature, recover=recover),
        features=_read_features(fields),
        route_hints=tuple(_read_hops(symbols) for symbols in fields.get(_HINT, ())),
        fallbacks=tuple(_read_fallbacks(fields.get(_FALLBACK, ()))),
        metadata=bech32.bytes_from_symbols(fields[_METADATA][0]) if _METADATA in fields else None,
    )


def payment_hash_in(text: str) -> str:
    """Return the payment hash of an invoice that was verified before, in lower-case hex.

    Raises:
        MalformedInvoice: it has none.
    """
    _, symbols = _symbols(text)
    payment_hash = _hex(_read_fields(symbols[_TIMESTAMP_SYMBOLS:-_SIGNATURE_SYMBOLS]), _HASH)
    if payment_hash is None:
        raise MalformedInvoice("it has no payment hash")
    return payment_hash


def amount_msat_in(text: str) -> int | None:
    """Return what an invoice that was verified before asks for; None for one that leaves it to the payer.

    Raises:
        MalformedInvoice: it is none.
    """
    return _read_prefix(_symbols(text)[0])[1]


def without_scheme(text: str) -> str:
    """Return an invoice as nodes take it, without the ``lightning:`` that links and QR codes begin with."""
    return text[len(_SCHEME) :] if text[: len(_SCHEME)].lower() == _SCHEME else text


def _symbols(text: str) -> tuple[str, bytes]:
    bare = without_scheme(text)
    if len(bare) > _TEXT_MAX:
        raise MalformedInvoice("it is too long")
    try:
        return bech32.decode(bare)
    except bech32.MalformedBech32 as error:
        raise MalformedInvoice(str(error)) from error


def _read_prefix(prefix: str) -> tuple[str, int | None]:
    found = _PREFIX.fullmatch(prefix)
    if found is None:
        raise MalformedInvoice("its currency or amount is unknown")
    currency, digits, multiplier = found.groups()
    if digits is None:
        return currency, None
    amount_msat, rest = divmod(int(digits) * _TENTHS_OF_MSAT[multiplier], 10)
    if rest:
        raise MalformedInvoice("its amount is finer than a millisatoshi")
    if not 0 < amount_msat <= MONEY_VALUE_MAX:
        raise MalformedInvoice("its amount is zero or larger than all the money there is")
    return currency, amount_msat


def _read_fields(symbols: bytes) -> dict[int, list[bytes]]:
    """Return the content of each known field; what has another length than its kind must have is skipped."""
    fields: dict[int, list[bytes]] = {}
    place = 0
    while place < len(symbols):
        if place + 3 > len(symbols):
            raise MalformedInvoice("its last field is cut off")
        tag, length = symbols[place], symbols[place + 1] << 5 | symbols[place + 2]
        content = symbols[place + 3 : place + 3 + length]
        place += 3 + length
        if place > len(symbols):
            raise MalformedInvoice("its last field is cut off")
        if tag not in _KNOWN or length != _FIXED_SYMBOLS.get(tag, length):
            continue
        if tag in fields and tag not in _REPEATABLE:
            raise MalformedInvoice("it says the same thing twice")
        fields.setdefault(tag, []).append(content)
    return fields


def _hex(fields: Mapping[int, list[bytes]], tag: int) -> str | None:
    return bech32.bytes_from_symbols(fields[tag][0]).hex() if tag in fields else None


def _number(fields: Mapping[int, list[bytes]], tag: int, *, default: int) -> int:
    if tag not in fields:
        return default
    number = bech32.int_from_symbols(fields[tag][0])
    if number > _NUMBER_MAX:
        raise MalformedInvoice("its expiry or its CLTV delta is beyond reason")
    return number


def _read_description(fields: Mapping[int, list[bytes]]) -> str | None:
    if _DESCRIPTION not in fields:
        return None
    try:
        return bech32.bytes_from_symbols(fields[_DESCRIPTION][0]).decode()
    except UnicodeDecodeError as error:
        raise MalformedInvoice("its description is not UTF-8") from error


def _read_features(fields: Mapping[int, list[bytes]]) -> frozenset[int]:
    value = bech32.int_from_symbols(fields[_FEATURES][0]) if _FEATURES in fields else 0
    bits = frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)
    unknown = sorted(bit for bit in bits - _FEATURES_KNOWN if bit % 2 == 0)
    if unknown:
        raise MalformedInvoice(f"it requires the unknown feature {unknown[0]}")
    return bits


def _read_hops(symbols: bytes) -> tuple[RouteHop, ...]:
    content = bech32.bytes_from_symbols(symbols)
    if len(content) % _HOP_BYTES:
        raise MalformedInvoice("a route hint is cut off")
    hops = (content[place : place + _HOP_BYTES] for place in range(0, len(content), _HOP_BYTES))
    return tuple(
        RouteHop(
            node=hop[:33].hex(),
            channel=int.from_bytes(hop[33:41]),
            fee_base_msat=int.from_bytes(hop[41:45]),
            fee_ppm=int.from_bytes(hop[45:49]),
            cltv_delta=int.from_bytes(hop[49:]),
        )
        for hop in hops
    )


def _read_fallbacks(fields: Iterable[bytes]) -> Iterator[Fallback]:
    """Yield the addresses of the versions we know."""
    for symbols in fields:
        if symbols and symbols[0] <= _FALLBACK_VERSION_MAX:
            yield Fallback(version=symbols[0], payload=bech32.bytes_from_symbols(symbols[1:]))


def _payee(named: str | None, *, digest: bytes, signature: bytes, recover: Callable[[bytes, bytes], bytes]) -> str:
    """Return who signed. A named payee must have, with a low S; the recovery id then does not count."""
    if signature[64] > 3:
        raise MalformedInvoice("its recovery id is not 0 to 3")
    if named is None:
        payee = _recovered(digest, signature, recover)
        if payee is None:
            raise MalformedInvoice("its signature gives no key")
        return payee
    if int.from_bytes(signature[32:64]) > _HALF_ORDER:
        raise MalformedInvoice("its signature is not canonical")
    if not any(_recovered(digest, signature[:64] + bytes([id_]), recover) == named for id_ in range(4)):
        raise MalformedInvoice("its signature is not the payee's")
    return named


def _recovered(digest: bytes, signature: bytes, recover: Callable[[bytes, bytes], bytes]) -> str | None:
    try:
        return recover(digest, signature).hex()
    except ValueError:
        return None

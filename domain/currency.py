"""National currencies: which there are, and how finely each is counted (ISO 4217, in force in 2026)."""

from collections.abc import Mapping
from typing import Final

from quittance.domain.errors import InvalidAmount
from quittance.domain.money import Asset

_BY_PLACES: Final[Mapping[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN "
    "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_PLACES: Final[Mapping[str, int]] = {code: places for places, codes in _BY_PLACES.items() for code in codes.split()}


def is_currency(code: str) -> bool:
    """Tell whether this is the code of a national currency, in capitals."""
    return code in _PLACES


def currency_asset(code: str) -> Asset:
    """Return a currency as what is counted, in its minor unit: cents of USD, whole JPY, thousandths of KWD.

    Raises:
        InvalidAmount: ISO 4217 has no such currency.
    """
    places = _PLACES.get(code)
    if places is None:
        raise InvalidAmount("there is no such currency; a currency is a code of ISO 4217 in capitals, such as USD")
    return Asset(code, places)

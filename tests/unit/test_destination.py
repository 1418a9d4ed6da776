"""Who can be paid, read from what people paste."""

import pytest

from quittance.domain.destination import TEXT_MAX, read_destination
from quittance.domain.lnurl import encode
from quittance.domain.outgoing_errors import InvalidDestination
from quittance.domain.transfer import Destination, DestinationKind

INVOICE = "lnbcrt1p5abcdefg"
NODE = "03" + "ab" * 32
LNURL = encode("https://example.com/pay")


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        (INVOICE, DestinationKind.INVOICE, INVOICE),
        (INVOICE.upper(), DestinationKind.INVOICE, INVOICE),
        (f"  {INVOICE}\n", DestinationKind.INVOICE, INVOICE),
        (f"lightning:{INVOICE}", DestinationKind.INVOICE, INVOICE),
        (f" LIGHTNING:{INVOICE.upper()} ", DestinationKind.INVOICE, INVOICE),
        ("lnbcrt1p5ABCDEFG", DestinationKind.INVOICE, "lnbcrt1p5ABCDEFG"),  # mixed case is for its reader to refuse
        ("bob@example.com", DestinationKind.ADDRESS, "bob@example.com"),
        (" Bob@Example.COM ", DestinationKind.ADDRESS, "bob@example.com"),
        ("lightning:bob@example.com", DestinationKind.ADDRESS, "bob@example.com"),
        ("bob+tips@pay.example.com:8443", DestinationKind.ADDRESS, "bob+tips@pay.example.com:8443"),
        ("lnd@example.com", DestinationKind.ADDRESS, "lnd@example.com"),
        (LNURL, DestinationKind.LNURL, LNURL),
        (LNURL.lower(), DestinationKind.LNURL, LNURL.lower()),
        (f"lightning:{LNURL}", DestinationKind.LNURL, LNURL),
        (f"Lightning:{LNURL}\t", DestinationKind.LNURL, LNURL),
        ("lnurlp://example.com/Pay?a=B", DestinationKind.LNURL, "lnurlp://example.com/Pay?a=B"),
        ("LNURLP://example.com/Pay", DestinationKind.LNURL, "LNURLP://example.com/Pay"),
        (f"https://x.test/?lightning={LNURL}", DestinationKind.LNURL, f"https://x.test/?lightning={LNURL}"),
        (f"http://x.test/@a?lightning={LNURL}", DestinationKind.LNURL, f"http://x.test/@a?lightning={LNURL}"),
        (NODE, DestinationKind.NODE, NODE),
        (NODE.upper(), DestinationKind.NODE, NODE),
        (f"lightning:{NODE}", DestinationKind.NODE, NODE),
        ("02" + "00" * 32, DestinationKind.NODE, "02" + "00" * 32),
    ],
)
def test_a_text_names_who_is_paid(text: str, kind: DestinationKind, read: str) -> None:
    assert read_destination(text) == Destination(kind=kind, text=read)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "lightning:",
        "nobody",
        "@",
        "bob@",
        "@example.com",
        "bob@example.com@example.com",
        "bob smith@example.com",
        "b\N{LATIN SMALL LETTER O WITH DIAERESIS}b@example.com",
        "bob\x00@example.com",
        f"{INVOICE}\N{ZERO WIDTH SPACE}",
        "l\N{LATIN SMALL LETTER N WITH TILDE}bc1",
        "lnurl1",
        "lnurl1nonsense",
        LNURL[:-1] + ("Q" if LNURL[-1] != "Q" else "P"),
        encode("ftp://example.com/pay"),
        encode("https://example.com/pay?tag=withdrawRequest"),
        "lnurlp://",
        "https://example.com/pay",
        f"ftp://example.com/?lightning={LNURL}",
        "04" + "ab" * 32,
        NODE[:-1],
        NODE + "0",
        f"{NODE}:9735",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "ln" + "x" * TEXT_MAX,
    ],
)
def test_a_text_that_names_nobody_is_malformed(text: str) -> None:
    with pytest.raises(InvalidDestination) as refused:
        read_destination(text)

    assert refused.value.flaw == "MALFORMED"


def test_an_invoice_may_be_as_long_as_invoices_are() -> None:
    longest = "ln" + "x" * (TEXT_MAX - 2)

    assert read_destination(f"lightning:{longest}").text == longest

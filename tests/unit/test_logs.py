"""The last net of the logs: what looks like a secret is blanked out, and the rest of the line stays."""

import pytest

from quittance.domain import lnurl
from quittance.domain.webhook import shown_secret
from quittance.server.logs import hide_secrets


@pytest.mark.parametrize(
    "secret",
    [
        shown_secret(bytes(range(32))),
        "qk_0123456789abcdef",
        "qr_0123456789abcdef",
        f"pay_{'0' * 32}_secret_{'a' * 64}",
        lnurl.encode("https://shop.test/lnurl/withdraw?k1=00"),
        lnurl.encode("https://shop.test/lnurl/withdraw?k1=00").lower(),
        f"k1={'0f' * 32}",
    ],
)
def test_a_secret_in_a_line_is_blanked_out(secret: str) -> None:
    record = hide_secrets(None, "info", {"event": f"sent with {secret}, twice", "url": f"https://x/?s={secret}"})

    assert record == {"event": "sent with …, twice", "url": "https://x/?s=…"}


@pytest.mark.parametrize("name", ["nonce", "signature", "token", "client_secret"])
def test_a_member_that_is_named_like_a_secret_is_blanked_out(name: str) -> None:
    assert hide_secrets(None, "info", {"event": "login", name: "x"}) == {"event": "login", name: "…"}

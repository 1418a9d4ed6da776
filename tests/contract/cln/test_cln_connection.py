"""The encrypted connection and its rune, at the sandbox's node."""

import httpx
import pytest
from pydantic import SecretStr

from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.base import ProviderHealth
from quittance.providers.cln.connection import ClnConnection, open_client
from quittance.providers.cln.provider import ClnProvider
from quittance.sandbox.rails import SandboxRails


def connection(rails: SandboxRails, *, ca: bytes | None = None, rune: str = "") -> ClnConnection:
    where = rails.cln
    assert where.ca_path is not None
    return ClnConnection(
        url=where.url,
        ca=where.ca_path.read_bytes() if ca is None else ca,
        rune=SecretStr(rune or where.rune_path.read_text()),
    )


async def health_of(where: ClnConnection) -> ProviderHealth:
    provider = ClnProvider(open_client(where), network="regtest", timeout_s=2)
    health = await provider.health()
    await provider.aclose()
    return health


async def test_rune_is_taken_as_a_file_has_it_and_never_shown(rails: SandboxRails) -> None:
    rune = rails.cln.rune_path.read_text()
    where = connection(rails, rune=f"{rune}\n")

    assert (await health_of(where)).ready
    assert rune not in repr(where)
    assert "BEGIN" not in repr(where)


async def test_certificate_of_another_authority_is_a_matter_for_the_operator(rails: SandboxRails) -> None:
    other = rails.lnd.tls_cert_path.read_bytes()

    health = await health_of(connection(rails, ca=other))

    assert health == ProviderHealth(
        ready=False,
        detail="provider 'cln': the node does not show a certificate that we trust; give its present ca.pem",
    )


async def test_without_an_authority_the_machine_s_own_decide(rails: SandboxRails) -> None:
    where = ClnConnection(url=rails.cln.url, rune=SecretStr(rails.cln.rune_path.read_text()))

    assert "certificate" in (await health_of(where)).detail


@pytest.mark.parametrize("rune", ["AAAA", "not/base64!", "x" * 4_000])
async def test_rune_of_nobody_opens_nothing(rails: SandboxRails, rune: str) -> None:
    health = await health_of(connection(rails, rune=rune))

    assert health == ProviderHealth(ready=False, detail="provider 'cln': the node does not accept the rune")


async def test_rune_that_may_pay_may_not_receive_and_the_other_way_round(rails: SandboxRails) -> None:
    where = rails.cln
    assert where.spend_rune_path is not None

    health = await health_of(connection(rails, rune=where.spend_rune_path.read_text()))

    assert health.detail.startswith("the rune may not receive")
    async with open_client(connection(rails)) as client:
        answer = await client.post("/v1/xpay", json={"invstring": "lnbcrt1"})
    assert (answer.status_code, answer.json()["code"]) == (401, 1_502)


async def test_call_without_a_rune_is_refused(rails: SandboxRails) -> None:
    async with open_client(connection(rails)) as client:
        del client.headers["Rune"]
        answer = await client.post("/v1/getinfo", json={})

    assert (answer.status_code, answer.json()["code"]) == (403, 1_501)


@pytest.mark.parametrize("rune", ["", " ", "a b", "é", "a\nb", "x" * 5_000])
def test_what_is_no_rune_is_refused_without_telling_it(rune: str) -> None:
    with pytest.raises(ProviderMisconfigured) as refused:
        open_client(ClnConnection(url="https://127.0.0.1:1", rune=SecretStr(rune)))

    assert refused.value.reason == "what we were given is no rune; give the text that createrune returned"


@pytest.mark.parametrize("url", ["http://127.0.0.1:3010", "127.0.0.1:3010", "grpc://127.0.0.1"])
def test_rune_never_travels_in_clear(url: str) -> None:
    with pytest.raises(ProviderMisconfigured, match="https"):
        open_client(ClnConnection(url=url, rune=SecretStr("rune")))


@pytest.mark.parametrize("ca", [b"", b"no certificate", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n???\n"])
def test_file_that_holds_no_certificate_never_means_to_trust_everybody(ca: bytes) -> None:
    with pytest.raises(ProviderMisconfigured, match="no certificate"):
        open_client(ClnConnection(url="https://127.0.0.1:1", ca=ca, rune=SecretStr("rune")))


async def test_what_does_not_speak_https_is_not_asked(rails: SandboxRails) -> None:
    port = httpx.URL(rails.prices_url).port
    where = ClnConnection(url=f"https://127.0.0.1:{port}", rune=SecretStr("rune"))

    assert (await health_of(where)).detail == "provider 'cln': what listens at the address does not speak https"

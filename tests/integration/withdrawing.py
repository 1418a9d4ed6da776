"""Withdrawals of the tests: their documents, and wallets that call the doors which a code leads to."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.applications import Starlette

from quittance.domain import lnurl
from quittance.domain.access import Principal
from quittance.resolvers.services import Services
from quittance.server.http.addresses import peer_address
from quittance.server.http.withdrawals import withdrawal_routes

WITHDRAWAL = """
  id status lnurl minWithdrawable { value assetCode } maxWithdrawable { value } createdAt expiresAt
  payout { id status statusReason amount { value } destination destinationKind }
"""
CREATE = f"""
mutation ($input: CreateWithdrawalInput) {{ createWithdrawal(input: $input) {{ __typename
  ... on CreateWithdrawalSuccess {{ withdrawal {{ {WITHDRAWAL} qrCode png: qrCode(format: PNG) }} }}
  ... on InsufficientBalanceError {{ available {{ value }} }}
  ... on InvalidInputError {{ field }} ... on UserError {{ code message retryable }} }} }}
"""
FIND = f"query ($id: ID!) {{ withdrawal(id: $id) {{ {WITHDRAWAL} qrCode }} }}"
OK = {"status": "OK"}


async def create(till: Any, *, as_: Principal | None, **input_: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await till.shop.mutate("createWithdrawal", CREATE, {"input": input_ or None}, as_=as_)
    return answer.get("withdrawal") or answer


async def found(till: Any, withdrawal_id: str, *, as_: Principal | None) -> dict[str, Any] | None:
    standing: dict[str, Any] | None = (await till.shop.run(FIND, {"id": withdrawal_id}, as_=as_))["withdrawal"]
    return standing


def k1_of(code: str) -> str:
    """Return the secret in a code."""
    return parse_qs(urlsplit(lnurl.decode(code)).query)["k1"][0]


@dataclass(frozen=True)
class Wallet:
    """Scans codes, and calls the doors of one process."""

    http: httpx.AsyncClient

    @staticmethod
    def at(services: Services) -> "Wallet":
        app = Starlette(routes=withdrawal_routes(services, peer_address))
        return Wallet(httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop.test"))

    async def scan(self, code: str) -> dict[str, Any]:
        return await self.call(lnurl.decode(code))

    async def take(self, code: str, invoice: str) -> dict[str, Any]:
        """Do what a wallet does after it has read the offer."""
        return await self.say(k1=k1_of(code), pr=invoice)

    async def say(self, **parameters: str) -> dict[str, Any]:
        return await self.call("http://shop.test/lnurl/withdraw/callback", **parameters)

    async def call(self, url: str, **parameters: str) -> dict[str, Any]:
        """Return the door's answer, which always has the form of one, and never is that of a crash."""
        answer = await self.http.get(httpx.URL(url).copy_merge_params(parameters))
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "no-store"
        body: dict[str, Any] = answer.json()
        refused = body.keys() == {"status", "reason"} and body["status"] == "ERROR"
        assert refused or body == OK or body["tag"] == "withdrawRequest"
        assert not body.get("reason", "").startswith("something went wrong")
        return body

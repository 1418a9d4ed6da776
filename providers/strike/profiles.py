"""Who can receive what at Strike (1.4)."""

from typing import Final

from pydantic import TypeAdapter

from quittance.providers.strike import calls
from quittance.providers.strike.bodies import ProfileBody
from quittance.providers.strike.calls import Call
from quittance.providers.strike.client import Question, StrikeClient
from quittance.providers.strike.errors import StrikeRefusal

_PROFILE: Final = TypeAdapter(ProfileBody)


class Profiles:
    """Public profiles; None stands for one that is unknown, or private."""

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def of_account(self, account_id: str) -> ProfileBody | None:
        return await self._found(calls.PROFILE, account_id)

    async def of_handle(self, handle: str) -> ProfileBody | None:
        return await self._found(calls.PROFILE_OF_HANDLE, handle)

    async def _found(self, call: Call, name: str) -> ProfileBody | None:
        try:
            return await self._client.ask(call, _PROFILE, Question(entity_id=name))
        except StrikeRefusal as refusal:
            if refusal.strike_code == "NOT_FOUND":
                return None
            raise

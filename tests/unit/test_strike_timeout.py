"""How long a call to Strike may take: never longer than what is concluded from silence allows."""

import pytest

from quittance.providers.strike.executions import BEGIN_WITHIN_S
from quittance.resolvers.sending import CERTAIN_AFTER_S, SEND_WITHIN_S
from quittance.server.settings import Settings
from quittance.server.strike import timeout_s


@pytest.mark.parametrize(("set_s", "expected_s"), [(2.0, 2.0), (20.0, 20.0), (60.0, 20.0)])
def test_longest_call_is_over_when_nobody_can_be_on_the_way_any_more(set_s: float, expected_s: float) -> None:
    taken_s = timeout_s(Settings(_env_file=None, lnd_timeout_s=set_s))  # type: ignore[call-arg]

    assert taken_s == expected_s
    assert SEND_WITHIN_S + BEGIN_WITHIN_S + taken_s < CERTAIN_AFTER_S

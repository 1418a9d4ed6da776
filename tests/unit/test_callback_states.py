"""Which way a callback may go, and how long its provider is asked again."""

from itertools import pairwise

import pytest

from quittance.domain.callback import CALLBACK_NEXT, PAUSE_S_MAX, TRIES_MAX, CallbackState, pause_s

ALLOWED = {
    (CallbackState.RECEIVED, CallbackState.PROCESSED),
    (CallbackState.RECEIVED, CallbackState.IGNORED),
    (CallbackState.RECEIVED, CallbackState.FAILED),
    (CallbackState.FAILED, CallbackState.PROCESSED),
    (CallbackState.FAILED, CallbackState.IGNORED),
}


@pytest.mark.parametrize("before", CallbackState)
@pytest.mark.parametrize("after", CallbackState)
def test_every_pair_of_states(before: CallbackState, after: CallbackState) -> None:
    assert (after in CALLBACK_NEXT[before]) is ((before, after) in ALLOWED)


def test_pauses_grow_to_their_limit_and_end() -> None:
    pauses = [pause_s(tries) for tries in range(1, TRIES_MAX)]

    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert pauses[-1] == PAUSE_S_MAX
    assert all(one is not None and other is not None and one <= other for one, other in pairwise(pauses))
    assert 6_000 < sum(pause or 0 for pause in pauses) < 8_000
    assert pause_s(TRIES_MAX) is None
    assert pause_s(TRIES_MAX + 1) is None

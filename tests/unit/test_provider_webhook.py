"""Secrets of our webhooks at providers: which are accepted when, and which addresses may be told."""

from datetime import UTC, datetime, timedelta

import pytest

from quittance.domain.errors import InvalidInput
from quittance.domain.ids import ProviderWebhookId
from quittance.domain.provider_webhook import KIND_MAX, KINDS_MAX, URL_MAX, ProviderWebhook, check_kinds, check_url
from quittance.domain.secrets import SecretDeriver

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NEW = ProviderWebhook(
    id=ProviderWebhookId("pwh_1"),
    provider="strike",
    url="https://shop.example/callbacks/strike",
    subscription_id=None,
    generation=1,
    told=0,
    previous_until=None,
    created_at=NOW,
    rotated_at=None,
)
HELD = NEW.has_been_told(1, subscription_id="sub", overlap_s=60, at=NOW)


def test_the_first_secret_is_accepted_before_the_provider_has_it_and_has_none_beside_it() -> None:
    assert NEW.accepted(at=NOW) == [1]
    assert (HELD.accepted(at=NOW), HELD.subscription_id, HELD.rotated_at) == ([1], "sub", None)


def test_both_are_accepted_until_the_provider_answers_and_for_the_overlap_from_then_on() -> None:
    begun = HELD.begin_rotation(overlap_s=60, at=NOW)
    told_at = NOW + timedelta(days=30)
    ended = begun.has_been_told(2, subscription_id="sub", overlap_s=60, at=told_at)

    assert begun.is_rotating
    assert begun.accepted(at=told_at) == [2, 1]
    assert not ended.is_rotating
    assert ended.accepted(at=told_at + timedelta(seconds=59)) == [2, 1]
    assert ended.accepted(at=told_at + timedelta(seconds=60)) == [2]
    assert ended.rotated_at == told_at


def test_a_rotation_under_way_is_gone_on_with_and_ends_once() -> None:
    begun = HELD.begin_rotation(overlap_s=60, at=NOW)
    again = begun.begin_rotation(overlap_s=0, at=NOW)
    ended = again.has_been_told(2, subscription_id="sub", overlap_s=0, at=NOW)
    late = ended.has_been_told(2, subscription_id="sub", overlap_s=3_600, at=NOW)

    assert again == begun
    assert ended.accepted(at=NOW) == [2]
    assert late == ended


def test_an_overlap_is_not_cut_short_unless_every_older_secret_is_to_end() -> None:
    ended = HELD.begin_rotation(overlap_s=60, at=NOW).has_been_told(2, subscription_id="sub", overlap_s=60, at=NOW)

    with pytest.raises(InvalidInput, match="accepted until 2026-05-01T00:01:00Z"):
        ended.begin_rotation(overlap_s=60, at=NOW)
    at_once = ended.begin_rotation(overlap_s=0, at=NOW).has_been_told(3, subscription_id="sub", overlap_s=0, at=NOW)
    assert at_once.accepted(at=NOW) == [3]
    assert ended.begin_rotation(overlap_s=60, at=NOW + timedelta(seconds=60)).generation == 3


def test_a_secret_is_256_bits_of_its_webhook_and_generation_within_what_strike_takes() -> None:
    derive = SecretDeriver(b"k" * 32)
    made = {
        derive.provider_webhook_secret(ProviderWebhookId(id_), generation)
        for id_ in ("pwh_1", "pwh_2")
        for generation in (1, 2)
    }
    other_key = SecretDeriver(b"l" * 32).provider_webhook_secret(ProviderWebhookId("pwh_1"), 1)

    assert len(made | {other_key}) == 5
    assert {len(secret) for secret in made} == {43}  # 10 to 50 characters, W18
    assert all(character.isalnum() or character in "-_" for secret in made for character in secret)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/callbacks/strike",
        "https://shop.example:8443/x?y=z",
        "http://127.0.0.1:8000/callbacks/strike",
        "http://localhost/x",
        "http://[::1]:1/x",
    ],
)
def test_an_address_that_may_be_told(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example", "http://shop.example/x", "http://10.0.0.1/x", "ftp://shop.example", "https://", "https:///x",
        "https://user:word@shop.example/", "https://user@shop.example/", "https://shop.example/#part",
        "https://shop.example/a b", "https://shop.example/\n", "https://shöp.example/", "https://[::1/x",
        "https://shop.example:99999/", "http://127.0.0.1.shop.example/", "https://shop.example/" + "x" * URL_MAX,
    ],
)  # fmt: skip
def test_an_address_that_may_not(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_url(url)
    assert refused.value.field == "url"


@pytest.mark.parametrize("kinds", [(), ("",), ("a\n",), ("\ud800",), ("x" * (KIND_MAX + 1),), ("x",) * (KINDS_MAX + 1)])
def test_types_that_are_none(kinds: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_kinds(kinds)
    assert refused.value.field == "eventTypes"

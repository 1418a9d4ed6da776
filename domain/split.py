"""How an upvote is shared out: equally among those who upvoted before, and what cannot be shared to the author."""

from dataclasses import dataclass

from quittance.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``sharers`` times ``share``, and ``remainder``, are what was split: nothing is lost and nothing made."""

    sharers: int
    share: Money
    remainder: Money

    @property
    def shared(self) -> Money:
        """What all sharers get together."""
        return Money(self.sharers * self.share.value, self.share.asset)


def split_equally(total: Money, *, sharers: int) -> Split:
    """Give each of ``sharers`` the same whole number of smallest units; the author gets the rest.

    The rest is less than one unit for each sharer. Without sharers it is everything, and so it is where there are
    more sharers than units: then nobody shares.

    Raises:
        ValueError: a count or an amount below zero; a bug.
    """
    if sharers < 0 or total.value < 0:
        raise ValueError(f"{total.value} cannot be split among {sharers}")
    share = total.value // sharers if sharers else 0
    sharing = sharers if share else 0
    return Split(
        sharers=sharing,
        share=Money(share, total.asset),
        remainder=Money(total.value - sharing * share, total.asset),
    )

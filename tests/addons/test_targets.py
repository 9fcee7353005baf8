"""Keys by weight."""

import random
from collections import Counter

from addons.targets import by_weight
from shared.models import UpstreamKey


def test_heavier_keys_come_first_in_proportion_to_their_weight() -> None:
    keys = [UpstreamKey("light", "", 1), UpstreamKey("heavy", "", 3)]
    chance = random.Random(7).random  # noqa: S311

    first = Counter(by_weight(keys, chance)[0].id for _ in range(4000))

    assert 0.7 < first["heavy"] / 4000 < 0.8


def test_every_key_stands_in_the_order_once() -> None:
    keys = [UpstreamKey(str(number), "", number) for number in range(9)]

    ordered = by_weight(keys, random.Random(7).random)  # noqa: S311

    assert sorted(key.id for key in ordered) == [key.id for key in keys]
    assert by_weight([], lambda: 0.0) == []
    assert len(by_weight(keys, lambda: 0.0)) == 9

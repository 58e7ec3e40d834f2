"""Which sample a position reads."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.training.order import Buckets, Shuffled


@given(st.integers(0, 100), st.integers(1, 60), st.integers(0, 5))
def test_every_epoch_visits_each_sample_once(seed, size, epoch):
    order = Shuffled(size)
    assert sorted(order(seed, epoch * size + k) for k in range(size)) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own():
    order = Shuffled(100)
    orders = [[order(seed, e * 100 + k) for k in range(100)] for seed in (0, 1) for e in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@given(st.integers(0, 100), st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_every_batch_is_of_one_bucket_and_its_samples_take_turns(seed, which, batch):
    """No sample is read a second time before all of its bucket have been read."""
    order, counts = Buckets(which, batch), Counter()
    for step in range(60):
        seen = [order.place(seed, step * batch + k) for k in range(batch)]
        assert len({which[index] for index in seen}) == 1
        counts.update(seen)
        for bucket in set(which):
            turns = [counts[index] for index, own in enumerate(which) if own == bucket]
            assert max(turns) - min(turns) <= 1


@given(st.integers(0, 100), st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_a_position_reads_the_same_whenever_it_is_asked(seed, which, batch):
    first, second = Buckets(which, batch), Buckets(which, batch)
    positions = range(20 * batch)
    forwards = [first.place(seed, k) for k in positions]
    assert [second.place(seed, k) for k in reversed(positions)] == forwards[::-1]


def test_one_bucket_is_the_plain_order():
    order, plain = Buckets([0] * 9, 4), Shuffled(9)
    assert [order.place(3, k) for k in range(40)] == [plain(3, k) for k in range(40)]


@pytest.mark.parametrize(("sizes", "batch"), [((80, 20), 10), ((1000, 1), 64), ((90, 110, 7), 32)])
def test_a_bucket_is_seen_as_often_as_its_samples_are_many(sizes, batch):
    which = [bucket for bucket, size in enumerate(sizes) for _ in range(size)]
    order, steps = Buckets(which, batch), 40 * len(which)
    seen = Counter(order.which[order.place(0, step * batch)] for step in range(steps))
    for bucket, size in enumerate(sizes):
        assert seen[bucket] / steps == pytest.approx(size / len(which), rel=0.13)

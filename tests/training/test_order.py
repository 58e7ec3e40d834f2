"""Which sample a position reads."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mmdiff.training.order import Buckets, place


@given(st.integers(0, 100), st.integers(1, 60), st.integers(0, 5))
def test_every_epoch_visits_each_sample_once(seed, size, epoch):
    order = [place(seed, epoch * size + k, size) for k in range(size)]
    assert sorted(order) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [[place(seed, e * 100 + k, 100) for k in range(100)] for seed in (0, 1) for e in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@given(st.integers(0, 100), st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 8))
def test_every_batch_is_of_one_bucket_and_all_samples_of_it_take_turns(seed, which, batch):
    order = Buckets(which, batch)
    rounds = sum(max(1, round(count / batch)) for count in Counter(which).values())
    seen = [order.place(seed, k) for k in range(3 * rounds * batch)]
    if len(set(which)) > 1:
        for step in range(3 * rounds):
            assert len({which[index] for index in seen[step * batch : (step + 1) * batch]}) == 1
    else:
        assert seen == [place(seed, k, len(which)) for k in range(len(seen))]
    counts = Counter(seen)
    for bucket in set(which):
        turns = [counts[index] for index, own in enumerate(which) if own == bucket]
        assert max(turns) - min(turns) <= 1


def test_a_bucket_has_batches_by_its_samples():
    order = Buckets([0] * 80 + [1] * 20, 10)
    for start in range(0, 500, 100):
        steps = [order.which[order.place(7, start + 10 * step)] for step in range(10)]
        assert steps.count(1) == 2
    assert len({tuple(order.place(7, start + k) for k in range(100)) for start in range(0, 500, 100)}) == 5

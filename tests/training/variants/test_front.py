"""Which variants are shipped."""

from hypothesis import given
from hypothesis import strategies as st

from training.variants.front import FASTER, Point, front
from training.variants.lesions import Cut, Lesions, depths

points = st.lists(
    st.tuples(st.floats(0, 1), st.floats(1, 1000)).map(lambda each: Point("x", *each)),
    min_size=1,
    max_size=9,
)


@given(points, st.floats(0, 1))
def test_what_is_left_out_is_beaten_too_slow_or_too_bad(found, most_lost):
    kept = front(found, most_lost)
    reference = found[0]
    assert kept[0] is reference
    for point in found[1:]:
        if any(point is each for each in kept):
            assert point.dice >= reference.dice - most_lost
            others = [each for each in kept if each is not point and each.dice >= point.dice]
            assert all(point.milliseconds <= FASTER * each.milliseconds for each in others
                       if each is reference or each.dice > point.dice)  # fmt: skip
        else:
            assert point.dice < reference.dice - most_lost or any(
                each.milliseconds * FASTER < point.milliseconds
                and (each is reference or each.dice >= point.dice)
                for each in kept
            )


def test_a_cut_network_that_loses_to_a_small_one_is_not_shipped():
    full, small = Point("full", 0.90, 100.0), Point("small", 0.89, 40.0)
    assert front([full, Point("drop-4", 0.85, 60.0), small], 0.1) == [full, small]
    assert front([full, Point("drop-1", 0.895, 80.0), small], 0.1)[1].name == "drop-1"


def test_a_variant_that_no_longer_tells_objects_apart_is_not_shipped():
    full = Point("full", 0.9, 100.0, objects=0.8, an_object=0.01)
    merging = Point("drop-2", 0.895, 50.0, objects=0.4, an_object=0.01)
    as_good = Point("int8", 0.89, 40.0, objects=0.765, an_object=0.01)
    assert front([full, merging, as_good], 0.03) == [full, as_good]


def test_a_variant_that_cannot_be_timed_here_is_kept_for_where_it_can():
    full, half = Point("full", 0.9, 100.0), Point("float16", 0.9, None)
    assert front([full, half], 0.01) == [full, half]


def test_depths_are_spread_over_what_can_be_saved_at_the_price_that_is_allowed():
    dice = [0.9, 0.9, 0.89, 0.89, 0.88, 0.87, 0.5]
    path = tuple(Cut(tuple("abcdef"[:n]), 100 - 10 * n, d) for n, d in enumerate(dice))
    chosen = depths(Lesions(path, ()), most=2, most_lost=0.05)
    assert [cut.flops for cut in chosen] == [80, 50]

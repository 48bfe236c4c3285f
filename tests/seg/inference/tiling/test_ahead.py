import threading

import pytest

from seg.inference.tiling.ahead import ahead


def test_items_keep_their_order():
    assert list(ahead(iter(range(50)), depth=3)) == list(range(50))


def test_the_next_items_are_made_while_one_is_used():
    made = threading.Semaphore(0)

    def items():
        for i in range(3):
            made.release()
            yield i

    stream = ahead(items(), depth=2)
    next(stream)
    for _ in range(3):
        assert made.acquire(timeout=10)


def test_no_more_are_made_than_the_depth_allows():
    made = []
    stream = ahead((made.append(i) or i for i in range(50)), depth=2)
    next(stream)
    stream.close()
    assert len(made) <= 3


def test_an_error_comes_in_its_turn():
    def items():
        yield 1
        raise ValueError("second")

    stream = ahead(items())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="second"):
        next(stream)


def test_the_maker_is_told_when_nobody_wants_more():
    stopped = threading.Event()

    def items():
        yield 0
        assert stopped.wait(timeout=10)
        yield 1

    stream = ahead(items(), stop=stopped.set)
    next(stream)
    stream.close()
    assert stopped.is_set()

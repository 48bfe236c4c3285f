from types import ModuleType

import seg.metrics


def test_all_lists_what_is_there():
    there = {n for n, value in vars(seg.metrics).items() if not isinstance(value, ModuleType)}
    assert {name for name in there if not name.startswith("_")} == set(seg.metrics.__all__)

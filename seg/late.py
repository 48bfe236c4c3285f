"""Rooms that are also commands show what they have without importing it.

``python -m seg.networks`` imports ``seg/networks/__init__.py`` first, whatever is asked: what the
room shows must not cost ``--help`` the seconds of torch.
"""

import sys
from collections.abc import Callable
from importlib import import_module


def late_names(room: str, *modules: str) -> Callable[[str], object]:
    """A ``__getattr__`` for a room (PEP 562): a name of its ``__all__`` is imported when asked for.

    Args:
        room: ``__name__`` of the package.
        modules: within it, in which names are looked for, in this order.
    """

    def look_up(name: str) -> object:
        package = sys.modules[room]
        if name in package.__all__:
            for module in modules:
                imported = import_module(f"{room}.{module}")
                if hasattr(imported, name):
                    setattr(package, name, getattr(imported, name))
                    return getattr(package, name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return look_up

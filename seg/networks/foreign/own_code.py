"""A network that a user wrote: ``package.module:function``. Building it runs that code.

So it is built only where the user named it in this process or in the environment, never because
a plan or a package that was sent names it.
"""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from seg.errors import ConfigError

ALLOWED = "SEG_RUN_CODE"
"""Environment variable with the one name whose code may run; other processes inherit it."""
LIBRARIES = ("smp", "monai", "seg", "timm", "tu")
"""What stands before a colon elsewhere, or is written there for ``tu-``."""
BESIDE = ""
"""On Python's path the folder in which one stands: code beside the user's data."""
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def names_own_code(name: str) -> bool:
    """Whether a name has the form ``package.module:function``."""
    return _NAME.fullmatch(name) is not None and name.partition(":")[0].lower() not in LIBRARIES


def allow(name: str) -> None:
    """Let the code of that name run in this process and in those that it starts."""
    os.environ[ALLOWED] = name


def check_allowed(name: str) -> None:
    """Make sure that the user has asked for that code.

    Raises:
        ConfigError: nobody did; a plan or a package alone is no reason to run it.
    """
    if os.environ.get(ALLOWED) != name:
        raise ConfigError(
            f"the network is code of its own, {name}, which is run only if you name it: read it, "
            f"then give --network {name} or set {ALLOWED}={name}"
        )


def build_own(name: str, **about: Any) -> nn.Module:
    """What the function returns.

    Args:
        name: ``package.module:function``.
        about: ``spatial_dims``, ``in_channels``, ``num_classes``; handed over by keyword, as far
            as the function takes them.

    Raises:
        ConfigError: the user did not ask for it, it is not there, or makes no module.
    """
    check_allowed(name)
    module_name, _, function_name = name.partition(":")
    if BESIDE not in sys.path:  # where ``python -m`` has it anyway; behind all that is installed
        sys.path.append(BESIDE)
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name)
        accepted = inspect.signature(function).parameters
    except (Exception, SystemExit) as error:  # code that we do not know, as it is imported
        raise ConfigError(f"{name} cannot be used: {_in_a_line(error)}") from error
    takes_all = any(each.kind is each.VAR_KEYWORD for each in accepted.values())
    try:
        network = function(**{k: v for k, v in about.items() if takes_all or k in accepted})
    except (Exception, SystemExit) as error:  # code that we do not know
        raise ConfigError(
            f"{name} fails: {type(error).__name__}: {_in_a_line(error)} (it is given those of "
            f"{', '.join(about)} that it has as parameters)"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{name} must return a torch.nn.Module, got {type(network).__name__}")
    if any(is_lazy(each) for each in network.parameters()):
        raise ConfigError(
            f"{name} has lazy layers, whose weights have no shape before an image has gone "
            "through; give them the channels that they take (nn.Conv2d in place of nn.LazyConv2d)"
        )
    return network


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

"""A network that torch compiles while it trains, and is itself again afterwards."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from seg.errors import ConfigError
from training.run.names import CompilationName
from training.run.plan import Plan

WAYS: Mapping[CompilationName, Mapping[str, Any]] = {
    "none": {},
    "kernels": {"mode": "default"},
    "graphs": {"mode": "reduce-overhead"},
}
"""Of ``Plan.compiled``: arguments of ``torch.compile``."""


@contextmanager
def compiled_as_planned(network: nn.Module, plan: Plan) -> Iterator[None]:
    """Compile a network in its place: its weights keep their names, and its copies are plain.

    Patches have one size, for which kernels are made when the first of them comes.
    """
    if plan.compiled == "none":
        yield
        return
    network.compile(dynamic=False, **WAYS[plan.compiled])
    try:
        yield
    finally:
        network._compiled_call_impl = None  # what nn.Module.compile sets; it has no way back
        torch.compiler.reset()


def begin_step(plan: Plan) -> None:
    """Say that what the last step's graph gave may be written over."""
    if plan.compiled == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def not_compiled(error: RuntimeError) -> ConfigError:
    """What to say where a step of a compiled network failed: most often there is no compiler."""
    cause = getattr(error, "inner_exception", error)
    first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    return ConfigError(
        f"torch could not compile the network ({type(cause).__name__}: {first}); choose "
        "--compiled none, or set compiled: none in plan.yaml"
    )

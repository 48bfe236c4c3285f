"""In which ways a package may be run here: by which library, and in which precision.

Coarser arithmetic than float32 is taken only where held-back cases showed what it costs, and on
hardware that has it.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

from seg.cuda_driver import cuda_devices
from seg.errors import BackendError, ConfigError
from seg.inference.backends.openvino_core import openvino_core
from seg.model_package import ModelCard, Precision, PrecisionCost, Tolerance, Variant
from seg.names import PRECISION_VARIABLE, PRECISIONS, AskedPrecision, Provider
from seg.verbs import called
from seg.version import installed_with

UNMEASURED = Tolerance(worst=0.5, mean=0.01)
"""Of a precision that was forced though nobody measured it: what is further off is broken."""
FALLS_BEHIND = ("tf32", "float16")
"""Precisions of files that only a graphics card computes fast."""


class Way(NamedTuple):
    """By what, in which precision, and from which file a network is run."""

    provider: Provider = "cpu"
    precision: Precision = "float32"
    variant: str | None = None
    """In place of what was asked for; None is just that."""

    def __str__(self) -> str:
        """For people and for what is remembered."""
        parts = (self.provider, "" if self.precision == "float32" else self.precision, self.variant)
        return " ".join(part for part in parts if part)


def way_of(backend: object) -> Way:
    """How a backend runs; one that does not say computes what its file says."""
    way = getattr(backend, "way", None)
    return way if isinstance(way, Way) else Way()


@cache
def has_bfloat16() -> bool:
    """Whether OpenVINO is here and this CPU computes in bfloat16."""
    if not find_spec("openvino"):
        return False
    try:
        return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, RuntimeError):  # installed, but it does not load here
        return False


def ways_of(
    card: ModelCard,
    variant: str | None = None,
    provider: Provider = "auto",
    precision: AskedPrecision = "auto",
) -> list[Way]:
    """All that may run a variant, or the package by itself: those of a graphics card first.

    Raises:
        PackageError: no variant has that name.
        ConfigError: the precision does not go with the variant or the provider.
        BackendError: the precision is not to be had here.
    """
    if precision not in PRECISIONS:  # the environment's is not looked at before
        raise ConfigError(
            f"{PRECISION_VARIABLE} is one of {', '.join(PRECISIONS)}, got {precision!r}"
        )
    own = card.variant(card.members(variant)[0]).precision
    providers: list[Provider] = [provider] if provider != "auto" else _providers()
    usual = [Way(each, _computed(own, each)) for each in providers]
    if precision == own:
        return usual
    faster = [way for way in _faster(card, variant) if way.provider in providers]
    if precision == "auto":
        return _cards_first([*(way for way in faster if _is_proven(card, variant, way)), *usual])
    forced = [way for way in faster if way.precision == precision]
    if forced and precision == "bfloat16":
        _require_bfloat16()
    if not forced:
        raise ConfigError(_why_not(card, variant, provider, precision))
    return _cards_first(forced)


def _computed(precision: Precision, provider: Provider) -> Precision:
    """In what a file of some precision is computed: a CPU rounds nothing to tf32."""
    return "float32" if precision == "tf32" and provider != "cuda" else precision


def ways_to_measure(card: ModelCard) -> list[Way]:
    """What may be faster here than the package by itself."""
    on_card = "cuda" in _providers()
    return [
        way
        for way in _faster(card, None)
        if (way.precision != "bfloat16" or has_bfloat16())
        and (way.precision not in FALLS_BEHIND or (on_card and way.provider == "cuda"))
        and not (on_card and way.provider != "cuda")
    ]


def tolerance_of(card: ModelCard, variant: str | None, way: Way) -> Tolerance:
    """How far golden probabilities may be off when it runs that way."""
    if way.precision != "bfloat16":
        return card.tolerance(way.variant or variant)
    known = _known(card, variant, way)
    return Tolerance(known.tolerance, known.mean_tolerance) if known else UNMEASURED


def _is_proven(card: ModelCard, variant: str | None, way: Way) -> bool:
    if way.precision == "bfloat16" and not has_bfloat16():
        return False
    known = _known(card, variant, way)
    return bool(known and known.is_small(objects_count=card.instances is not None))


def _known(card: ModelCard, variant: str | None, way: Way) -> PrecisionCost | None:
    """What a way was measured to lose, in the library that was measured: another rounds otherwise.

    None where nobody measured it.
    """
    if card.faster_ways is None:
        return None
    return card.faster_ways.precision(
        way.precision, way.provider, card.members(variant), way.variant
    )


def _faster(card: ModelCard, variant: str | None) -> list[Way]:
    """Every way that there might be, on whatever hardware."""
    members = [card.variant(name) for name in card.members(variant)]
    ways = []
    if all(member.precision == "float32" for member in members):
        ways.append(Way("openvino", "bfloat16"))
    if variant is None and len(members) == 1:
        for other in card.variants:
            if _is_rounded(other, members[0]):
                providers: list[Provider] = ["cuda"]
                if other.precision not in FALLS_BEHIND:
                    providers = ["cpu", "openvino"]
                elif other.precision == "float16":
                    providers = ["cuda", "cpu"]
                ways += [Way(each, other.precision, other.name) for each in providers]
    return ways


def _is_rounded(other: Variant, of: Variant) -> bool:
    """Whether it is the same network in another precision."""
    same = other.blocks_dropped == of.blocks_dropped and other.distilled == of.distilled
    return same and other.name != of.name and other.precision != of.precision


def _providers() -> list[Provider]:
    found: list[Provider] = ["cuda"] if cuda_devices() else []
    found.append("cpu")
    if find_spec("openvino"):
        found.append("openvino")
    return found


def _cards_first(ways: Sequence[Way]) -> list[Way]:
    return sorted(ways, key=lambda way: way.provider != "cuda")


def _require_bfloat16() -> None:
    if not has_bfloat16():
        raise BackendError(
            "this CPU does not compute in bfloat16 (it needs AVX512_BF16 or AMX); choose precision "
            "auto or float32"
        )


def _why_not(
    card: ModelCard, variant: str | None, provider: Provider, precision: AskedPrecision
) -> str:
    members = card.members(variant)
    own = card.variant(members[0]).precision
    if precision == "bfloat16" and own == "float32":
        if not find_spec("openvino"):
            return f"bfloat16 is computed by OpenVINO; {installed_with('openvino')}"
        return f"bfloat16 is computed by OpenVINO, not by provider {provider}; choose openvino"
    if variant is not None:
        return f"variant {members[0]} is {own}; leave out either the variant or precision"
    if precision in [each.precision for each in card.variants]:
        return f"provider {provider} does not compute in {precision} here; choose auto"
    return (
        f"this package has no network in {precision}; it has "
        f"{', '.join(dict.fromkeys(each.precision for each in card.variants))} "
        f"({called('training.export', '--variants')} makes others)"
    )

"""How networks of other libraries are named; nothing heavy is imported to read a name."""

import importlib.util
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.machinery import PathFinder

from seg.errors import ConfigError
from seg.networks.foreign.own_code import BESIDE, names_own_code

SMP, TIMM, MONAI, OURS = "smp:", "tu-", "monai:", "seg:"
DEFAULT_ARCHITECTURE = "unet"
MONAI_NETWORKS = ("segresnet", "dynunet", "swinunetr")
REFUSED = {
    "dpt": "it needs an encoder of vision transformers, which takes images of one size",
}
"""Architectures of segmentation-models-pytorch that cannot be trained here, and why."""


def is_whole_network(name: str) -> bool:
    """Whether a name stands for a network that is foreign from end to end."""
    return name.startswith((SMP, MONAI)) or names_own_code(name)


def is_foreign(name: str) -> bool:
    """Whether a name is none of this package's presets."""
    return name.startswith((TIMM, OURS)) or is_whole_network(name)


def has_2d_encoder(name: str) -> bool:
    """Whether the network lives on an encoder for pictures."""
    return name.startswith((SMP, TIMM, OURS))


def encoder_of(name: str) -> str | None:
    """Its encoder, as ``foreign.encoders.make`` calls it; None where it has none by name."""
    if name.startswith(SMP):
        return _encoder(smp_parts(name)[1])
    if name.startswith(OURS):
        return _encoder(name.partition("+")[2])
    return name if name.startswith(TIMM) else None


def smp_parts(name: str) -> tuple[str, str]:
    """Architecture and encoder of ``smp:unet/resnet34``; ``smp:resnet34`` is a U-Net."""
    architecture, slash, encoder = name.removeprefix(SMP).partition("/")
    return (architecture, encoder) if slash else (DEFAULT_ARCHITECTURE, architecture)


def our_parts(name: str) -> tuple[str, str]:
    """Preset and encoder of ``seg:resnet34+tu-convnext_atto``.

    Raises:
        ConfigError: one of them is missing.
    """
    preset, _, encoder = name.removeprefix(OURS).partition("+")
    if not preset or not encoder:
        raise ConfigError(
            f"{name!r} names no preset and encoder; write seg:PRESET+ENCODER, such as "
            "seg:resnet34+tu-convnext_atto"
        )
    return preset, _encoder(encoder)


def check_name(name: str) -> None:
    """Make sure that a foreign network of that name exists; encoders are checked as they are built.

    Raises:
        ConfigError: it does not; the nearest that do are told.
    """
    if name.startswith(MONAI):
        bare = name.removeprefix(MONAI)
        if bare not in MONAI_NETWORKS:
            raise unknown("network", name, [MONAI + known for known in MONAI_NETWORKS])
    elif name.startswith(SMP):
        _check_architecture(name)
    elif name.startswith(OURS):
        our_parts(name)
    elif names_own_code(name):
        _check_module(name)


def unknown(kind: str, name: str, known: Sequence[str], before: str = "") -> ConfigError:
    """The sentence for a name that is not known: completed, or corrected by the nearest.

    Args:
        kind: what it should name.
        name: as it was written.
        known: what could stand there in place of all that follows ``before``.
        before: how the name begins, which is right.
    """
    by_spelling = {_spelt(each): before + each for each in reversed(known)}
    wanted = _spelt(name.removeprefix(before))
    begins = sorted((each for each in by_spelling if each.startswith(wanted)), key=len)
    near = begins[:3] or get_close_matches(wanted, by_spelling, n=3, cutoff=0.4)
    told = [by_spelling[each] for each in near] or [before + each for each in known[:3]]
    return ConfigError(f"no {kind} is called {name!r}; did you mean {' or '.join(told)}?")


def unknown_network(name: str, presets: Sequence[str]) -> ConfigError:
    """The sentence for a name that is no preset, and does not say of which library it is."""
    library, _, bare = name.strip().rpartition(":")
    if "/" in bare:
        return ConfigError(f"no network is called {name!r}; did you mean {SMP}{bare.lower()}?")
    known = {each: _spelt(bare_name) for each, bare_name in _named(library.lower(), presets)}
    if not known:
        return ConfigError(
            f"no network is called {name!r}; one of your own is package.module:function, a "
            "function in a module that Python can import from here"
        )
    wanted = _spelt(bare)
    near = [wanted] if wanted in known.values() else get_close_matches(wanted, known.values(), n=3)
    told = [each for spelt in dict.fromkeys(near) for each in known if known[each] == spelt]
    return ConfigError(
        f"no network is called {name!r}; did you mean {' or '.join(told[:3] or presets)}?"
    )


def _named(library: str, presets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Networks and encoders of a library, or of all; and what others call them."""
    import segmentation_models_pytorch as smp
    import timm

    if not library:
        yield from ((preset, preset) for preset in presets)
    if library in ("", "monai"):
        yield from ((MONAI + network, network) for network in MONAI_NETWORKS)
    if library in ("", "smp"):
        yield from ((SMP + encoder, encoder) for encoder in smp.encoders.encoders)
    if library in ("", "timm", "tu"):
        yield from ((TIMM + model, model) for model in timm.list_models())


def _spelt(name: str) -> str:
    """In small letters, since papers, their code and users differ in all else."""
    return name.strip().lower().replace("+", "plus").replace("_", "-")


def _check_architecture(name: str) -> None:
    import segmentation_models_pytorch as smp

    architecture, encoder = smp_parts(name)
    known = list(smp.MODEL_ARCHITECTURES_MAPPING)
    if not encoder or ("/" not in name and encoder in known):
        shown = encoder or (architecture if "/" in name and architecture else DEFAULT_ARCHITECTURE)
        raise ConfigError(
            f"{name} names no encoder; write smp:ARCHITECTURE/ENCODER, such as smp:{shown}/resnet34"
        )
    if architecture in REFUSED:
        raise ConfigError(f"{name} cannot be trained here: {REFUSED[architecture]}")
    if architecture not in known:
        wanted = [f"{SMP}{each}/{encoder}" for each in known if each not in REFUSED]
        raise unknown("network", name, wanted)


def _check_module(name: str) -> None:
    module = name.partition(":")[0]
    try:
        top = module.partition(".")[0]
        found = importlib.util.find_spec(top) or PathFinder.find_spec(top, [BESIDE])
    except (ImportError, ValueError):
        found = None
    if found is None:
        near = get_close_matches(module, ("smp", "monai", "seg"), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}:{name.partition(':')[2]}?" if near else ""
        raise ConfigError(f"no module {module!r} can be imported for {name}{hint}")


def _encoder(bare: str) -> str:
    return bare if bare.startswith((SMP, TIMM)) else SMP + bare

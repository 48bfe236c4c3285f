"""What will be trained: the plan, one field a decision.

``python -m training.plan PATH --minutes M --memory SIZE`` plans without training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError, model_validator

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.images.grid.orientation import are_axis_codes
from seg.model_package.sides import between_sides, in_words, sided_classes
from seg.networks import SHORTCUTS, ForeignConfig, UNetConfig, network_config
from seg.networks.config import RESIDUAL
from seg.networks.foreign.names import is_foreign
from seg.networks.shortcut import ScalarGated
from seg.transforms import Preprocessing
from training.run.names import CompilationName
from training.run.plan_fields import PlanFields

OPTIMISER_DEFAULTS: dict[str, dict[str, float]] = {
    # Isensee et al., nnU-Net: no warm-up, 0.01, 3e-5.
    "sgd": {"learning_rate": 1e-2, "weight_decay": 3e-5, "warmup_share": 0.0},
}

ELASTIC: dict[str, float] = {"stochastic_depth": 0.1, "sandwich_share": 0.3}
"""What ``fit --elastic`` plans, so that the network stays good when blocks are dropped."""


def elastic_fields(network: str | None) -> dict[str, float]:
    """What ``fit --elastic`` sets; other libraries' blocks have no rate at which they drop out."""
    is_ours = network is None or not is_foreign(network)
    return {name: value for name, value in ELASTIC.items() if is_ours or name != "stochastic_depth"}


USUAL_OVERLAP = 0.5
"""Of windows; as nnU-Net has it."""


class Plan(PlanFields):
    """Everything that ``fit`` decided before it trains; ``plan.yaml``."""

    @model_validator(mode="after")
    def _axes_are_those_of_the_patch(self) -> "Plan":
        for name, axes in (
            ("mirror_axes", self.mirror_axes or ()),
            ("left_right_axis", () if self.left_right_axis is None else (self.left_right_axis,)),
        ):
            if axes and max(axes) >= self.dims:
                raise ValueError(f"{name}: axes are 0 to {self.dims - 1}, got {max(axes)}")
        if self.orientation is not None and not are_axis_codes(self.orientation, self.dims):
            raise ValueError(
                f"orientation: {self.dims} axis codes such as {'RAS'[: self.dims]} are needed, got "
                f"{self.orientation!r}"
            )
        return self

    @model_validator(mode="after")
    def _is_one_of_the_folds(self) -> "Plan":
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold: {self.folds} folds are 0 to {self.folds - 1}, got {self.fold}")
        return self

    @model_validator(mode="after")
    def _can_be_compiled(self) -> "Plan":
        if self.compiled not in self.compilations:
            why = (
                "CUDA graphs write over the gradients that accumulate would add up"
                if "kernels" in self.compilations
                else "a training that leaves blocks out or closes gates would compile many networks"
            )
            raise ValueError(f"{why}, choose one of {', '.join(self.compilations)}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimiser(cls, fields: Any) -> Any:
        chosen = fields.get("optimiser") if isinstance(fields, dict) else None
        return OPTIMISER_DEFAULTS.get(chosen, {}) | fields if chosen else fields

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def between_sides(self) -> int | None:
        """The axis that runs between left and right; None where none does."""
        return between_sides(self.dims, self.orientation, self.left_right_axis)

    def mirrored_axes(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Axes along which patches are mirrored, for classes of these names."""
        if self.mirror_axes is not None:
            return self.mirror_axes
        forbidden = self.between_sides if sided_classes(classes) else None
        return tuple(axis for axis in range(self.dims) if axis != forbidden)

    @property
    def compilations(self) -> Sequence[CompilationName]:
        """What ``compiled`` can be: graphs where all steps are alike and keep nothing."""
        if self.sandwich_share or self.stochastic_depth or self.compute_penalty:
            return ("none",)
        return ("none", "kernels") if self.accumulate > 1 else ("none", "kernels", "graphs")

    @property
    def usual_overlap(self) -> float:
        """Of windows, before any other was measured."""
        return USUAL_OVERLAP if self.overlap is None else self.overlap

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to every image, in training as in service."""
        return Preprocessing(
            spacing=self.spacing, normalisation=self.normalisation, margin=self.margin
        )

    def network_config(self, num_classes: int) -> UNetConfig | ForeignConfig:
        """The network's shape.

        Raises:
            ConfigError: the numbers do not go together.
        """
        config = network_config(
            self.network,
            spatial_dims=self.dims,
            in_channels=len(self.normalisation),
            num_classes=num_classes,
            strides=self.strides,
            kernel_sizes=self.kernel_sizes,
        )
        if isinstance(config, ForeignConfig):
            check_blocks(config.name, dict(self))
            return config
        shortcut = self.shortcut or config.shortcut
        has_blocks = config.encoder == RESIDUAL or config.decoder == RESIDUAL
        if self.shortcut is not None and not (has_blocks or self.compute_penalty):
            raise ConfigError(
                f"--shortcut changes seg's own blocks, and {self.network} has none; leave it out, "
                f"or take seg:resnet34+{self.network}, whose decoder has some"
            )
        if self.compute_penalty and not issubclass(SHORTCUTS[shortcut], ScalarGated):
            raise ConfigError(
                f"a compute penalty closes gates, and {shortcut!r} shortcuts have none; take "
                "--shortcut gated or gated-channel"
            )
        return replace(
            config,
            deep_supervision=self.deep_supervision,
            stochastic_depth=self.stochastic_depth,
            shortcut=shortcut,
            attention_blocks=config.attention_blocks if self.attention is None else self.attention,
            gated_skips=self.compute_penalty > 0 and config.decoder == "light",
        )


def check_blocks(network: str, asked: Mapping[str, Any]) -> None:
    """Say what only networks made of our blocks can do, rather than leave it out silently.

    Args:
        network: of another library throughout.
        asked: fields of a plan.

    Raises:
        ConfigError: it is asked for something that it cannot do.
    """
    for name in ("shortcut", "attention", "compute_penalty", "stochastic_depth"):
        if asked.get(name):
            raise ConfigError(
                f"--{name.replace('_', '-')} changes seg's own blocks, and {network} has none; "
                "leave it out, or take a preset such as resunet-s"
            )


def with_minutes(plan: Plan, minutes: float) -> Plan:
    """The plan with other minutes, in which so many more or fewer steps are expected."""
    steps = plan.expected_steps and max(1, round(plan.expected_steps * minutes / plan.minutes))
    return changed_plan(plan, {"minutes": minutes, "expected_steps": steps})


def mirrors_in_words(plan: Plan, classes: Sequence[ClassInfo]) -> str:
    """Along which axes patches are mirrored, and why not along all."""
    names = [info.name for info in classes[1:]]
    axes, letters, sided = plan.mirrored_axes(names), "zyx"[-plan.dims :], sided_classes(names)
    along = f"along {', '.join(letters[axis] for axis in axes)}" if axes else "along no axis"
    between = plan.between_sides
    if not sided or between is None:
        return along
    if between in axes:
        return (
            f"{along}; {letters[between]} runs between left and right, so that {in_words(sided)} "
            "cannot be told from what lies on the other side"
        )
    return (
        f"{along}, not along {letters[between]}, which runs between left and right: "
        f"{in_words(sided)} would change places"
    )


def changed_plan(plan: Plan, fields: dict[str, Any]) -> Plan:
    """The plan with other values in some fields.

    Raises:
        ConfigError: a value cannot be.
    """
    kept = plan.model_dump()
    if fields.get("optimiser", plan.optimiser) != plan.optimiser:  # its numbers go with it
        kept = {k: v for k, v in kept.items() if k not in OPTIMISER_DEFAULTS["sgd"]}
    return validated(kept | fields, "the plan")


def validated(fields: dict[str, Any], where: str) -> Plan:
    """The plan that holds these fields.

    Raises:
        ConfigError: a field is missing, unknown or cannot be; ``where`` it stands is named.
    """
    try:
        return Plan.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where} cannot be used: {name + ': ' * bool(name)}{said}") from error

"""Encoders whose weights are at hand against what is planned without them.

Each trains for the same share of the time on most of the training cases; whole cases that none has
learnt from decide, never a name.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.card import load_cards
from data.stored_weights import ENCODER_FILE
from seg.errors import ConfigError, SegError
from seg.machine import cache_folder
from seg.metrics import Estimate, student_mean
from seg.networks.foreign.names import SMP, TIMM
from seg.verbs import called
from training.dataset import Dataset
from training.dataset.folds import fold_of
from training.learning.trial import Trial, try_out
from training.planning.options import DEFAULT_MINUTES
from training.planning.rehearsal import rehearse_export
from training.run.clock import Clock
from training.run.device import Device
from training.run.plan import Plan, changed_plan
from training.run.plan_fields import ENCODER_LEAD, FEWEST_HELD_BACK, Contender
from training.samples.object_targets import outputs_of

AUTO = "auto"
"""As ``--weights``."""
SHARE = 0.1
"""Of the time that is left, for each of those that are tried."""
LEAST_SECONDS = 20.0
"""Of a trial: in less a network has learnt nothing."""
UNASKED_MINUTES = 10.0
"""From which a trial takes a minute; shorter ones tell little, unless somebody asks for them."""
FEWEST_GROUPS = 3
"""Training cases, of other subjects each, below which one that is held back is too much."""
OWN_CHOICE = {
    *(
        "network",
        "weights",
        "start",
        "steps",
        "shortcut",
        "attention",
        "compute_penalty",
        "stochastic_depth",
    ),
    *("sandwich_share", "strides", "kernel_sizes", "deep_supervision"),
}
"""Fields that say which network is wanted, or that the training must be exactly so."""
MOST_RIVALS = 2
"""Encoders that are tried, those of the smallest files first."""
HELD_BACK = 4
"""One of so many training cases decides, one case at least."""
MOST_LEARNT, MOST_SCORED = 60, 20
"""Cases; preparing and scoring more would take the time of the training that follows."""
WEIGHTS_FOLDER, FETCHED = "weights", Path("datasets")
"""In the cache folder, files named as their encoder; and where ``data.fetch`` puts its own."""
HUBS: Mapping[str, str] = {"timm": TIMM, "smp-hub": ""}
"""Owners of weights on the hub, and what begins the names of their encoders."""

log = logging.getLogger("training")


@dataclass(frozen=True)
class Rival:
    """An encoder whose weights are on this machine."""

    network: str
    weights: str
    bytes: int

    @property
    def fields(self) -> dict[str, Any]:
        """What it sets of a plan."""
        return {"network": self.network, "weights": self.weights}


def rivals_at_hand() -> list[Rival]:
    """Encoders whose weights need no network, those of the smallest files first."""
    fetched = [
        (TIMM + card.weights.architecture, FETCHED / card.name / ENCODER_FILE)
        for card in load_cards().values()
        if card.weights is not None
    ]
    own = [(file.stem, file) for file in (cache_folder() / WEIGHTS_FOLDER).glob("*.safetensors")]
    files = [
        Rival(f"{SMP}unet/{encoder}", str(file.resolve()), file.stat().st_size)
        for encoder, file in [*fetched, *own]
        if file.is_file()
    ]
    return sorted([*files, *_in_the_hub_s_cache()], key=lambda rival: (rival.bytes, rival.network))


def _in_the_hub_s_cache() -> list[Rival]:
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    rivals = []
    for repository in repositories:
        owner, _, name = repository.repo_id.partition("/")
        if repository.repo_type != "model" or owner not in HUBS or not repository.size_on_disk:
            continue
        encoder, _, weights = name.rpartition(".")
        if HUBS[owner]:  # timm's own names say by themselves which weights are meant
            encoder, weights = HUBS[owner] + name, "imagenet"
        rivals.append(Rival(f"{SMP}unet/{encoder}", weights, repository.size_on_disk))
    return rivals


def check_contest(chosen: Mapping[str, Any], dataset: Dataset) -> None:
    """Say why no encoder can be tried, before any planning.

    Raises:
        ConfigError: none is at hand, or they are not for these data or this plan.
    """
    if "network" in chosen or "start" in chosen:
        raise ConfigError(
            "--weights auto chooses the network as well; leave --network and --from out, or name "
            "the weights"
        )
    if dataset.dims != 2:
        raise ConfigError("--weights auto is for 2D images: encoders of pictures take no volumes")
    if len({case.group for case in dataset.train}) < 2:
        raise ConfigError("--weights auto holds a training case back, and there is only one")
    if "steps" not in chosen:
        _trial_seconds(chosen.get("minutes", DEFAULT_MINUTES) / chosen.get("folds", 1))
    if not rivals_at_hand():
        raise ConfigError(
            "--weights auto finds no weights on this machine; "
            f"{called('data.fetch', 'efficientnet-lite0')} brings some, put "
            f"ENCODER.safetensors into {cache_folder() / WEIGHTS_FOLDER}, or set HF_HOME to a "
            "cache that has some"
        )


def is_worth_a_trial(chosen: Mapping[str, Any], dataset: Dataset, device: Device) -> bool:
    """Whether encoders are tried though nobody asked: some are at hand, and there is time."""
    groups = len({case.group for case in dataset.train})
    return (
        not OWN_CHOICE & set(chosen)
        and chosen.get("minutes", DEFAULT_MINUTES) >= UNASKED_MINUTES
        and (dataset.dims, device.world.size) == (2, 1)
        and groups >= FEWEST_GROUPS
        and bool(rivals_at_hand())
    )


def contest(
    plan_of: Callable[[Mapping[str, Any]], Plan], dataset: Dataset, device: Device, clock: Clock
) -> Plan:
    """The plan that did best on training cases which it was kept from.

    Args:
        plan_of: plans for the time that is left, with these fields set.
        dataset: to learn.
        device: to train on.
        clock: of the whole.

    Raises:
        ConfigError: there is too little time, or several processes train together.
        SegError: the training of what is planned without weights failed.
    """
    if device.world.size > 1:
        raise ConfigError("--weights auto is for one process; name the weights")
    few = _few(dataset)
    tried = [_tried(plan_of({}), few, device, clock)]
    for rival in rivals_at_hand()[:MOST_RIVALS]:
        try:
            plan = plan_of(rival.fields)
            rehearse_export(
                rival.network, plan.network_config(outputs_of(dataset.legend, plan.instances))
            )
            tried.append(_tried(plan, few, device, clock))
        except SegError as error:
            log.warning("trial     %s is left out: %s", rival.network, error)
    first, *others = (each.trial for each in tried)
    groups = [case.group for case in few.test]
    leads = [lead_over(first, other, groups) for other in others]
    best, left_s = tried[winner(leads)].trial, tried[winner(leads)].left_s
    contenders = tuple(
        Contender(
            network=each.trial.plan.network,
            weights=each.trial.plan.weights,
            steps=each.trial.steps,
            dice=None if math.isnan(each.trial.mean) else each.trial.mean,
            cases=len(few.test),
            minutes=None if each.trial.plan.steps else _trial_seconds(each.trial.plan.minutes) / 60,
            lead=None if lead is None or math.isnan(lead.mean) else lead.mean,
            ci95=None if lead is None or math.isnan(lead.low) else (lead.low, lead.high),
        )
        for each, lead in zip(tried, [None, *leads], strict=True)
    )
    log.info("chosen    %s, weights %s", best.plan.network, best.plan.weights or "random")
    expected = best.plan.expected_steps
    if expected is not None and not best.plan.steps:
        now_s = max(1.0, 60 * best.plan.minutes - clock.elapsed_s())
        expected = max(1, round(expected * now_s / left_s))
    return changed_plan(best.plan, {"contest": contenders, "expected_steps": expected})


def _few(dataset: Dataset) -> Dataset:
    """Training cases to learn from, and others, of other subjects, in the place of test cases."""
    groups = len({case.group for case in dataset.train})
    fold = fold_of(dataset, min(HELD_BACK, groups), 0)
    return replace(fold, cases=(*fold.train[:MOST_LEARNT], *fold.test[:MOST_SCORED]))


@dataclass(frozen=True)
class _Tried:
    trial: Trial
    left_s: float
    """Of the whole, when it was planned."""


def _tried(plan: Plan, few: Dataset, device: Device, clock: Clock) -> _Tried:
    left_s = max(1.0, 60 * plan.minutes - clock.elapsed_s())
    log.info("trial     %s, weights %s", plan.network, plan.weights or "random")
    own_clock = _clock_of(plan)
    short = changed_plan(plan, {"steps": own_clock.steps})
    with tempfile.TemporaryDirectory(prefix="seg-trial-") as folder:
        trial = try_out(short, few, few.train, few.test, device, Path(folder), own_clock)
    log.info("trial     Dice %.3f after %d steps", trial.mean, trial.steps)
    return _Tried(Trial(plan, trial.steps, trial.dice), left_s)


def lead_over(first: Trial, other: Trial, groups: Sequence[str]) -> Estimate:
    """Mean Dice of one less that of the other, with an interval where there are enough subjects.

    Args:
        first: trial.
        other: trial on the same cases.
        groups: subject of each case; cases of one subject are one value.
    """
    by_group: dict[str, list[float]] = {}
    for group, one, another in zip(groups, first.dice, other.dice, strict=True):
        if not math.isnan(another - one):
            by_group.setdefault(group, []).append(another - one)
    leads = [sum(each) / len(each) for each in by_group.values()]
    if len(leads) >= FEWEST_HELD_BACK and (estimate := student_mean(leads)) is not None:
        return estimate
    mean = sum(leads) / len(leads) if leads else math.nan
    return Estimate(mean, math.nan, math.nan, len(leads), len(leads))


def winner(leads: Sequence[Estimate]) -> int:
    """Place of the encoder that is ahead by most; 0, which needs no weights, where none is.

    One is ahead where the interval of its lead lies above 0, or where there is none, by
    ``ENCODER_LEAD``.
    """
    ahead = [place for place, lead in enumerate(leads, start=1) if _is_ahead(lead)]
    return max(ahead, key=lambda place: leads[place - 1].mean, default=0)


def _is_ahead(lead: Estimate) -> bool:
    return lead.mean >= ENCODER_LEAD if math.isnan(lead.low) else lead.low > 0


def _clock_of(plan: Plan) -> Clock:
    """Each trial has the same share of the whole; of its steps where these are counted."""
    if plan.steps:
        return Clock(plan.minutes, steps=max(1, round(SHARE * plan.steps)))
    return Clock(_trial_seconds(plan.minutes) / 60)


def _trial_seconds(minutes: float) -> float:
    seconds = SHARE * 60 * minutes
    if seconds < LEAST_SECONDS:
        least = LEAST_SECONDS / SHARE / 60
        raise ConfigError(
            f"--weights auto tries each network for {100 * SHARE:.0f} % of the time, which is "
            f"too little of {minutes:.2g} minutes; give at least --minutes {least:.2g} (times "
            "--folds), or name the weights"
        )
    return seconds

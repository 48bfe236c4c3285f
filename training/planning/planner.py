"""From data and machine to a plan: ``python -m training.plan PATH --minutes M --memory 8GiB``.

What was considered is in ``candidates.csv`` beside ``plan.yaml``.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.networks.foreign.names import check_name, is_whole_network
from seg.networks.foreign.own_code import check_allowed, names_own_code
from seg.networks.foreign.weights_file import hash_of
from seg.tables.comma_separated import csv_line
from training.dataset import Dataset
from training.dataset.dataset_yaml import CARD
from training.dataset.fingerprint import Fingerprint
from training.dataset.tuning import tuning_split
from training.learning.fine_tuning import start_fields, with_normalisation_of
from training.planning.compilation import compiled_as_asked, compiled_where_it_pays
from training.planning.contest import AUTO, contest, is_worth_a_trial
from training.planning.foreign_networks import foreign_fields
from training.planning.nnunet_rules import nnunet_plan
from training.planning.options import DEFAULT_MINUTES, PlanOptions
from training.planning.patch_cost import place_to_augment
from training.planning.rules import make_plan, planned_augmentation, shows_cells
from training.planning.search import SHARE_FOR_MEASURING, Budget, Candidate, best_of, candidates
from training.planning.step_cost import Stopwatch
from training.run.clock import Clock, enough_minutes
from training.run.device import Device, check_precision
from training.run.memory import free_bytes, held_bytes, in_gib
from training.run.plan import Plan, changed_plan, mirrors_in_words, with_minutes
from training.run.plan_yaml import read_plan
from training.samples.object_statistics import object_statistics, voxel_edge

log = logging.getLogger("training")

FEW_OBJECTS, FADE_SHARE = 100, 0.5
"""So few outlines show hardly any of the pale objects, which a network then calls background."""


@dataclass(frozen=True)
class Planned:
    """A plan, and what it was chosen from."""

    plan: Plan
    considered: Sequence[Candidate] = ()
    """Best first; none where nothing was left to choose."""


def plan_run(
    options: PlanOptions, dataset: Dataset, fingerprint: Fingerprint, device: Device, clock: Clock
) -> Planned:
    """The plan that was handed over, or the best for the data, the machine and the time.

    Raises:
        ConfigError: a chosen value cannot work, or nothing fits into the memory.
    """
    given = check_asked(options, device)
    chosen = options.chosen | {"dataset": dataset.name, "data": str(dataset.folder.resolve())}
    if dataset.left_right_axis is not None:
        chosen = {"left_right_axis": dataset.left_right_axis} | chosen
    if given:
        if "weights" in chosen:  # others than those that it was made for
            chosen["weights_sha256"] = hash_of(chosen["weights"] or "")
        planned = Planned(changed_plan(_in_asked_time(given, chosen), chosen))
    else:
        chosen = {"minutes": DEFAULT_MINUTES} | _telling_objects_apart(chosen, dataset) | chosen
        if options.as_nnunet:
            classes = len(dataset.classes)
            turned = fingerprint.turned(chosen.get("orientation"))
            chosen = nnunet_plan(turned, dataset.channels, classes, options.as_nnunet) | chosen
        planned = _planned(chosen, dataset, fingerprint, device, clock)
    planned = replace(planned, plan=with_mirrors(planned.plan, dataset.classes))
    plan = planned.plan
    if plan.mirror_axes is not None:
        log.info("mirrors   %s", mirrors_in_words(plan, dataset.classes))
    log.info(
        "plan      %s, patch %s, batch %d, %s augmentation, %s",
        plan.network,
        "x".join(map(str, plan.patch)),
        plan.batch_size,
        plan.augmentation,
        f"{plan.steps} steps" if plan.steps else f"{plan.minutes:g} minutes",
    )
    return planned


def _in_asked_time(given: Plan, chosen: Mapping[str, Any]) -> Plan:
    """The plan in the minutes or the steps that are asked for; what it expected of others goes."""
    if chosen.get("steps"):
        return changed_plan(given, {"expected_steps": chosen["steps"]})
    if "minutes" not in chosen:
        return given
    if given.steps:  # minutes that are named are not passed over for steps that are not
        return changed_plan(given, {"steps": None, "expected_steps": None})
    return with_minutes(given, chosen["minutes"])


def check_asked(options: PlanOptions, device: Device) -> Plan | None:
    """The plan that was handed over, if any; says what cannot work before any work is done.

    Raises:
        ConfigError: the plan cannot be read, or the device does not train in its precision.
    """
    if options.chosen.get("weights") == AUTO and (options.plan or options.as_nnunet):
        raise ConfigError(
            "--weights auto chooses the network as well; leave --plan and --as-nnunet out, or name "
            "the weights"
        )
    given = read_plan(options.plan) if options.plan else None
    name = options.chosen.get("network", given and given.network)
    if name is not None and is_whole_network(name):
        check_name(name)
        if names_own_code(name):
            check_allowed(name)
    check_precision(options.chosen.get("precision", given and given.precision), device)
    return given


def with_mirrors(plan: Plan, classes: Sequence[ClassInfo]) -> Plan:
    """The plan that says along which axes patches are mirrored, where that is not all of them."""
    axes = plan.mirrored_axes([info.name for info in classes[1:]])
    if plan.mirror_axes is not None or len(axes) == plan.dims:
        return plan
    return changed_plan(plan, {"mirror_axes": axes})


def _telling_objects_apart(chosen: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """What is planned for objects.

    Raises:
        ConfigError: they were asked for, and nobody annotated them.
    """
    wanted = chosen.get("instances")
    is_possible = dataset.has_objects and dataset.legend.task == "exclusive"
    if wanted in ("border", "distance", "auto") and not is_possible:
        raise ConfigError(
            f"objects of {dataset.name} cannot be told apart: "
            + (
                "its classes overlap"
                if dataset.has_objects
                else f"nobody annotated them one by one; number them and write masks: instances "
                f"into {CARD}"
            )
        )
    if not is_possible or wanted == "none":
        return {}
    learnt, _ = tuning_split(dataset.train)
    statistics = object_statistics(dataset, learnt)
    voxel = voxel_edge(chosen.get("spacing"))
    log.info(
        "objects   %d in some cases; radius of a small one %.3g, diameter of a large one %.3g",
        statistics.objects,
        statistics.radius,
        statistics.diameter,
    )
    planned: dict[str, Any] = {
        "instances": "auto",
        "border_width": statistics.border_width(voxel),
    }
    if statistics.objects < FEW_OBJECTS and shows_cells(dataset.channels, dataset.dims):
        planned["fade_share"] = FADE_SHARE
    return planned


def _planned(
    chosen: dict[str, Any],
    dataset: Dataset,
    fingerprint: Fingerprint,
    device: Device,
    clock: Clock,
) -> Planned:
    """The best of the search; of the trials where encoders with weights are at hand."""
    if chosen.get("weights") != AUTO and not is_worth_a_trial(chosen, dataset, device):
        return _searched(chosen, dataset, fingerprint, device, clock)
    rest = {name: value for name, value in chosen.items() if name != "weights"}

    def plan_of(fields: Mapping[str, Any]) -> Plan:
        return _searched({**rest, **fields}, dataset, fingerprint, device, clock).plan

    return Planned(contest(plan_of, dataset, device, clock))


def _searched(
    chosen: dict[str, Any],
    dataset: Dataset,
    fingerprint: Fingerprint,
    device: Device,
    clock: Clock,
) -> Planned:
    if "start" in chosen:
        chosen = start_fields(chosen["start"], dataset) | chosen
    chosen = foreign_fields(chosen, dataset, fingerprint) | chosen
    first = make_plan(fingerprint, dataset.channels, device.kind, **chosen)
    clock.minutes = first.minutes
    stopwatch = Stopwatch(
        dataset.legend, device, chosen.get("precision"), first.threads, search=not first.steps
    )
    if first.steps:  # what a step costs decides nothing
        if "batch_size" not in chosen:  # each process has a device of its own
            size = first.batch_size * device.world.size
            first = changed_plan(first, {"batch_size": size})
        plans = [first]
    else:
        plans = candidates(fingerprint, dataset.channels, device, chosen)
    # a network is compiled for minutes: the one that is chosen, not all that are measured
    plans = [changed_plan(plan, {"compiled": "none"}) for plan in plans]
    limits = _limits(first, device, clock)
    until = clock.elapsed_s() + SHARE_FOR_MEASURING * limits.seconds

    def left_s() -> float:
        return until - clock.elapsed_s()

    searched = best_of(plans, limits, stopwatch, left_s)
    best = searched[0]
    if "compiled" not in chosen:
        best = compiled_where_it_pays(best, limits, device, stopwatch, left_s)
    elif chosen["compiled"] != "none":
        best = compiled_as_asked(best, chosen["compiled"], limits, stopwatch, left_s)
    searched = [best, *searched[1:]]
    if not first.steps and clock.elapsed_s() + best.seconds > 60 * first.minutes:
        raise ConfigError(
            f"{first.minutes:g} minutes are over before a first step of {best.seconds:.2g} s, "
            f"{clock.elapsed_s() / 60:.2g} went into looking at the data and planning; give at "
            f"least --minutes {enough_minutes(clock, best.seconds):g}"
        )
    way = stopwatch.way_of(best.plan)
    log.info(
        "machine   %s, %s of memory: %.2g s a step in %s%s",
        device.name,
        in_gib(limits.bytes),
        best.seconds,
        way.precision,
        f" with {stopwatch.threads} of them, faster than with all" if stopwatch.found_fewer else "",
    )
    for place, each in enumerate(searched[:3] if len(searched) > 1 else (), start=1):
        log.info("choice %d  %s", place, each.in_words)
    decided: dict[str, Any] = {
        "precision": way.precision,
        "threads": stopwatch.threads,
        "channels_last": way.channels_last,
        "expected_steps": first.steps or max(1, int(best.steps)),
        "augmentation": planned_augmentation(
            best.plan.steps or best.steps, dataset.channels, dataset.dims
        ),
    }
    plan = changed_plan(best.plan, {k: v for k, v in decided.items() if k not in chosen})
    augment_on = chosen.get("augment_on") or place_to_augment(plan, best.seconds, device)
    plan = changed_plan(plan, {"augment_on": augment_on})
    if plan.start:
        plan = with_normalisation_of(plan, dataset.channels)
    return Planned(plan, searched if len(searched) > 1 else ())


def _limits(plan: Plan, device: Device, clock: Clock) -> Budget:
    on_cpu = device.kind == "cpu"
    held = held_bytes() if on_cpu else 0
    free = free_bytes(device.kind) + held
    beside = device.world.devices if on_cpu else 1
    return Budget(
        seconds=max(1.0, 60 * plan.minutes - clock.elapsed_s()),
        bytes=(plan.memory or free) // beside,
        held=held,
    )


def as_csv(considered: Sequence[Candidate]) -> bytes:
    """One row a candidate, the chosen one first."""
    lines = [
        csv_line(
            ("choice", "network", "patch", "batch_size", "seconds_a_step", "measured", "steps",
             "bytes")
        )
    ]  # fmt: skip
    for place, each in enumerate(considered, start=1):
        plan = each.plan
        lines.append(
            csv_line(
                (place, plan.network, "x".join(map(str, plan.patch)), plan.batch_size,
                 f"{each.seconds:.4g}", each.measured, round(each.steps), each.bytes)
            )
        )  # fmt: skip
    return "".join(lines).encode()

"""A study from its options to its files: tables, pictures and a paragraph."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from data.fetch import fetch
from seg.errors import ConfigError
from seg.files import replace_file
from training.planning.command_line import DEFAULT_DATASET
from training.studies.effects import (
    depth,
    encoders,
    gates,
    gradients,
    landscape,
    lesion,
    thousand,
    transformer,
    vanishing,
)
from training.studies.plots import as_file
from training.studies.questions import QUESTIONS
from training.studies.runs import Study, carry_out
from training.studies.setting import Setting
from training.studies.tables import as_csv, summary

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            depth.STUDY,
            gradients.STUDY,
            vanishing.STUDY,
            thousand.STUDY,
            encoders.STUDY,
            transformer.STUDY,
            lesion.STUDY,
            landscape.STUDY,
            gates.STUDY,
        )
    }
)

log = logging.getLogger("training")


def run(study: Study, setting: Setting, folder: Path) -> None:
    """Carry a study out, or go on with it, and write what was seen.

    Raises:
        SegError: the data or the setting cannot be used.
    """
    table = carry_out(study, setting, folder)
    paragraph = study.say(table)
    figure = study.draw(table)
    replace_file(folder / f"{study.name}.csv", as_csv(table))
    replace_file(folder / f"{study.name}-summary.csv", as_csv(summary(study.condensed(table))))
    for kind in ("png", "svg"):
        replace_file(folder / f"{study.name}.{kind}", as_file(figure, kind))
    replace_file(folder / f"{study.name}.md", (paragraph + "\n").encode())
    log.info("%s", paragraph)
    log.info("written to %s", folder)


def setting_from(study: Study, options: argparse.Namespace) -> Setting:
    """What was asked for; what was not is as the study has it.

    Raises:
        ConfigError: a number cannot be.
    """
    given = {
        name: value
        for name in Setting.model_fields
        if name != "data" and (value := getattr(options, name, None)) is not None
    }
    asked = {**QUESTIONS[study.name].setting, **given, "data": options.data or Path()}
    try:
        setting = Setting.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--{name}: {first['msg']}") from error
    study.jobs(setting)  # what cannot be is refused before data are fetched
    return setting if options.data else setting.model_copy(update={"data": fetch(DEFAULT_DATASET)})

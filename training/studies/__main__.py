"""``python -m training.studies depth``: run a study; a CSV, pictures and a paragraph in --out."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from data.fetch import fetch
from seg.commands import exit_status
from seg.errors import ConfigError
from seg.files import replace_file
from training.planning.command_line import DEFAULT_DATASET
from training.studies import depth, gates, gradients, landscape, lesion
from training.studies.plots import as_file
from training.studies.runs import Study, carry_out
from training.studies.setting import Setting
from training.studies.tables import as_csv

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (depth.STUDY, gradients.STUDY, lesion.STUDY, landscape.STUDY, gates.STUDY)
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
    for kind in ("png", "svg"):
        replace_file(folder / f"{study.name}.{kind}", as_file(figure, kind))
    replace_file(folder / f"{study.name}.md", (paragraph + "\n").encode())
    log.info("%s", paragraph)
    log.info("written to %s", folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when done, 2 when it cannot be, 130 when stopped."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    return exit_status(
        partial(_run, options), log.error, "stopped; the same command goes on with it"
    )


def _run(options: argparse.Namespace) -> int:
    study = STUDIES[options.study]
    folder = options.out or Path("runs") / f"study-{study.name}"
    run(study, _setting(study, options), folder)
    return 0


def _setting(study: Study, options: argparse.Namespace) -> Setting:
    given = {
        name: value
        for name in Setting.model_fields
        if name != "data" and (value := getattr(options, name)) is not None
    }
    data = options.data or fetch(DEFAULT_DATASET)
    try:
        return Setting.model_validate({**study.setting, **given, "data": data})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--{name}: {first['msg']}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies",
        description="What shortcuts do, measured and drawn. Minutes on two cores.",
    )
    studies = parser.add_subparsers(dest="study", required=True, metavar="STUDY")
    for name, study in STUDIES.items():
        defaults = ", ".join(
            f"{key} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
            for key, value in study.setting.items()
        )
        text = f"{study.question}; by default {defaults}"
        _add_options(studies.add_parser(name, help=study.question, description=text))
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, metavar="PATH",
        help=f"folder of a dataset (default: {DEFAULT_DATASET}, fetched once)")  # fmt: skip
    add("--out", type=Path, metavar="DIR",
        help="where to write, or what to go on with (default: runs/study-NAME)")  # fmt: skip
    add("--shortcuts", nargs="+", metavar="NAME", help="to compare")
    add("--layers", type=int, nargs="+", metavar="N", help="convolutions of the encoder: 1 + 4n")
    add("--seeds", type=int, metavar="N", help="trainings of each network (default: 3)")
    add("--steps", type=int, metavar="N", help="of each training")
    add("--batch-size", type=int, metavar="N", help="patches a step (default: 8)")
    add("--edge", type=int, metavar="N", help="of a patch, in voxels (default: 64)")
    add("--features", type=int, metavar="N", help="of the first stage (default: 16)")
    add("--learning-rate", type=float, metavar="X", help="at its highest (default: 0.05)")


if __name__ == "__main__":
    sys.exit(main())

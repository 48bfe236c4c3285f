"""A package trained on with what people corrected, and proposed where it is better."""

import logging
import shutil
from pathlib import Path

from seg.errors import ConfigError
from seg.files import replace_file
from seg.frozen import FrozenData
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from seg.verbs import called
from training.dataset import Case, load_dataset
from training.evaluation.case_choice import choose_cases
from training.evaluation.command_line import dataset_for
from training.evaluation.comparison import (
    Comparison,
    compare,
    comparison_table,
    on_fair_cases,
)
from training.evaluation.evaluator import default_tolerance, evaluate
from training.evaluation.scores import Evaluation
from training.pipeline.fitting import fit
from training.pipeline.verdict import Decision, verdict
from training.planning.command_line import command_line, options_from
from training.run.folder import RunFolder

PROPOSAL, COMPARISON, REPORT, RUN = "proposal.json", "comparison.json", "report.md", "run"

log = logging.getLogger("training")


class Proposal(FrozenData):
    """``proposal.json``: what became of a training that was to improve a package."""

    before: str
    """``NAME:VERSION`` of the package that it began with."""
    after: str
    decision: Decision
    says: str
    package: str | None
    """Folder of the new package, beside this file; None where it is not proposed."""
    cases: int
    """Held-back images that both were scored on."""


def improve(
    folder: Path, start: Path, out: Path, minutes: float, *, steps: int | None = None
) -> Proposal:
    """Train a package on with all labels of a folder, and compare both on its held-back images.

    Args:
        folder: of the dataset; old labels and new ones.
        start: the package.
        out: a new folder: the run, ``comparison.json``, ``report.md`` and ``proposal.json``.
        minutes: that the training may take.
        steps: of it, in place of minutes.

    Raises:
        SegError: data, package or machine do not allow it; no held-back image has a mask that
            the package has not learned from.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; name another folder with --out")
    before = ModelPackage.load(start)
    held_back = _held_back(before, folder)
    log.info("compare   on %d held-back images, which neither package has seen", len(held_back))
    arguments = [str(folder), "--from", str(start), "--out", str(out / RUN)]
    arguments += ["--minutes", f"{minutes:g}"] if steps is None else ["--steps", str(steps)]
    options = options_from(command_line().parse_args(arguments))
    run = fit(options, called("training.improve", "--from", _label(before)))
    after = ModelPackage.load(run.package)
    scores = _scores(before, folder, held_back, before), _scores(after, folder, held_back, before)
    names = (_label(before), _label(after))
    comparison = compare(*on_fair_cases(*scores), names)
    found = verdict(comparison)
    proposal = Proposal(
        before=names[0],
        after=names[1],
        decision=found.decision,
        says=found.says,
        package=None if found.decision == "not better" else f"{RUN}/{run.package.name}",
        cases=len(comparison.cases),
    )
    _write(out, run, proposal, comparison)
    return proposal


def _held_back(before: ModelPackage, folder: Path) -> list[str]:
    """Names of the images that both packages can be scored on."""
    dataset = load_dataset(folder)
    unseen = {case.name for case in choose_cases(before.card, dataset, None).cases}
    test = [case.name for case in dataset.test if case.name in unseen]
    if not test:
        raise ConfigError(
            f"no held-back image of {folder} is one that {_label(before)} has not learned from, so "
            "nothing can say whether training improves it; annotate a held-back image"
        )
    return test


def _scores(
    package: ModelPackage, folder: Path, names: list[str], before: ModelPackage
) -> Evaluation:
    dataset = dataset_for(package.card, folder)
    cases: list[Case] = [case for case in dataset.test if case.name in names]
    predictor = Predictor(package, load_backend(package))
    return evaluate(predictor, dataset, cases, tolerance=default_tolerance(before.card))


def _label(package: ModelPackage) -> str:
    return f"{package.card.name}:{package.card.version}"


def _write(out: Path, run: RunFolder, proposal: Proposal, comparison: Comparison) -> None:
    content = comparison.model_dump_json(indent=2) + "\n"
    replace_file(out / COMPARISON, content.encode())
    text = (
        f"# {proposal.after} beside {proposal.before}\n\n{proposal.says}.\n\n"
        f"```text\n{comparison_table(comparison)}\n```\n\n"
        f"How it was trained: [report.html]({RUN}/report.html)\n"
    )
    replace_file(out / REPORT, text.encode())
    replace_file(out / PROPOSAL, (proposal.model_dump_json(indent=2) + "\n").encode())
    shutil.rmtree(run.cache, ignore_errors=True)

"""What a model may say of its own masks, fitted on cases that it was not trained on.

Letters: ``k`` channels of logits, ``n`` voxels or cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

from seg.images import Mask
from seg.inference.labels.decision import probabilities_of
from seg.inference.tiling.blending import Slab
from seg.inference.trust.quality import add_sums
from seg.metrics import (
    DiceCalibration,
    SelfAssessment,
    expected_calibration_error,
    expected_dice,
    reliability,
)
from seg.metrics.bootstrap import units_of
from seg.metrics.predicted_dice import EDGE
from seg.model_package import ModelCard, Task
from training.dataset import IGNORE, Legend

VOXELS_A_CASE = 5_000
"""Drawn for the temperature, half of them where the mask is foreground: else background would
drown what the uncertainty is asked for. The logits alone decide what is drawn."""
FEWEST_CASES = 3
"""Of a class, for a calibration of its Dice; of all, for a temperature."""
MOST_FOLDS = 20
"""Cases are left out of a fit one by one; of more cases, this many parts."""
PRIOR = 1e-3
"""Weight of the squared distance to slope 1 and offset 0, so that few cases cannot bend much."""
TEMPERATURES = (0.5, 10.0)
SEED = 0


@dataclass(frozen=True, eq=False)
class CaseEvidence:
    """What a network said of a case, and what was true."""

    expected: Mapping[str, float]
    """Expected Dice by class, NaN where the class is not in the mask."""
    logits: Float32[np.ndarray, "k n"]
    """Of the drawn voxels."""
    truth: Bool[np.ndarray, "k n"]
    """Whether a voxel belongs to the channel's class."""
    subject: str | None = None
    """Whose cases are left out of a fit together: they are alike."""


class CaseWatcher:
    """Sees the slabs of a case; ``Predictor.predict(image, observe=...)``."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._sums = np.zeros((3, card.outputs))
        rng = np.random.default_rng(SEED)
        self._strata = [_Reservoir(card.outputs, VOXELS_A_CASE // 2, rng) for _ in range(2)]

    def __call__(self, slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        """Take the next rows."""
        task = self._card.task
        add_sums(self._sums, probabilities_of(slab.logits, task), labels, task)
        logits = slab.logits.reshape(self._card.outputs, -1)
        first = slab.start * prod(labels.shape[1:])
        for is_foreground, stratum in enumerate(self._strata):
            stratum.take(logits, np.flatnonzero((labels > 0).reshape(-1) == is_foreground), first)

    def told(self, reference: Mask, legend: Legend, subject: str | None = None) -> CaseEvidence:
        """The case's part of a calibration."""
        logits = np.concatenate([stratum.logits for stratum in self._strata], axis=1)
        places = np.concatenate([stratum.places for stratum in self._strata])
        labels = reference.array.reshape(-1)[places]
        members = legend.members().T
        if legend.task == "exclusive":
            members = np.concatenate([~members.any(axis=0, keepdims=True), members])
        annotated = labels != IGNORE
        classes = self._card.classes[len(self._card.classes) - self._card.outputs :]
        expected = expected_dice(*self._sums)
        return CaseEvidence(
            expected={
                info.name: float(each)
                for info, each in zip(classes, expected, strict=True)
                if info.index > 0
            },
            logits=logits[:, annotated],
            truth=members[:, labels[annotated]],
            subject=subject,
        )


class _Reservoir:
    """Some voxels of a stream, each as likely as any other."""

    def __init__(self, outputs: int, size: int, rng: np.random.Generator) -> None:
        self._size = size
        self._rng = rng
        self._keys: Float[np.ndarray, " n"] = np.zeros(0)
        self.places: Int64[np.ndarray, " n"] = np.zeros(0, np.int64)
        self.logits: Float32[np.ndarray, "k n"] = np.zeros((outputs, 0), np.float32)

    def take(
        self, logits: Float32[np.ndarray, "k n"], which: Int64[np.ndarray, " m"], first: int
    ) -> None:
        """Draw among ``which`` voxels of a slab that begins at voxel ``first``."""
        keys = self._rng.random(len(which))
        if len(self._keys) == self._size:
            lucky = keys < self._keys.max()
            keys, which = keys[lucky], which[lucky]
        keys = np.concatenate([self._keys, keys])
        kept = np.argsort(keys)[: self._size]
        self._keys = keys[kept]
        self.places = np.concatenate([self.places, which + first])[kept]
        self.logits = np.concatenate([self.logits, logits[:, which]], axis=1)[:, kept]


def assess(
    evidence: Sequence[CaseEvidence],
    dice: Mapping[str, Sequence[float | None]],
    task: Task,
    fitted_on: str,
) -> SelfAssessment:
    """Fit Dice, and a temperature where one mends the calibration of cases left out of its fit.

    Args:
        evidence: one a case.
        dice: by class, what the masks of the same cases reached.
        task: of the model.
        fitted_on: in words.
    """
    temperature, ece = 1.0, None
    if len(evidence) >= FEWEST_CASES:
        without, fitted = ece = _ece_left_out(evidence, task)
        if fitted < without:
            temperature = fit_temperature(evidence, task)
    calibrations = {}
    for name, reached in dice.items():
        known = [
            (case, each)
            for case, each in zip(evidence, reached, strict=True)
            if each is not None and np.isfinite(case.expected[name])
        ]
        if len(known) >= FEWEST_CASES:
            expected = np.array([case.expected[name] for case, _ in known])
            subjects = [case.subject for case, _ in known]
            calibrations[name] = fit_dice(expected, np.array([each for _, each in known]), subjects)
    return SelfAssessment(temperature=temperature, ece=ece, dice=calibrations, fitted_on=fitted_on)


def fit_dice(
    expected: Float[np.ndarray, " n"],
    reached: Float[np.ndarray, " n"],
    subjects: Sequence[str | None] | None = None,
) -> DiceCalibration:
    """The calibration of a class, with its error on cases left out.

    Args:
        expected: soft Dice of each case.
        reached: its Dice.
        subjects: whose each is, where that is known: one's cases are left out together.
    """
    slope, offset = _fit(expected, reached)
    errors, of_mean = [], []
    for left_out in _folds(subjects or [None] * len(reached)):
        slope_here, offset_here = _fit(expected[~left_out], reached[~left_out])
        fitted = DiceCalibration(slope=slope_here, offset=offset_here)
        errors += list(np.abs(fitted.predicted(expected[left_out]) - reached[left_out]))
        of_mean += list(np.abs(reached[~left_out].mean() - reached[left_out]))
    return DiceCalibration(
        slope=slope,
        offset=offset,
        cases=len(reached),
        expected_error=float(np.mean(errors)),
        error_of_the_mean=float(np.mean(of_mean)),
    )


def _fit(
    expected: Float[np.ndarray, " n"], reached: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    inner = logit(np.clip(expected, EDGE, 1 - EDGE))

    def loss(parameters: Float[np.ndarray, "2"]) -> float:
        slope, offset = parameters
        misfit = np.sum((expit(slope * inner + offset) - reached) ** 2)
        return float(misfit + PRIOR * ((slope - 1) ** 2 + offset**2))

    found = minimize(loss, np.array([1.0, 0.0]), bounds=[(0, None), (None, None)])
    return float(found.x[0]), float(found.x[1])


def fit_temperature(told: Sequence[CaseEvidence], task: Task) -> float:
    """The temperature under which the truth is likeliest.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits = np.concatenate([case.logits for case in told], axis=1).astype(np.float64)
    truth = np.concatenate([case.truth for case in told], axis=1)

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if task == "regions":
            return float(np.logaddexp(0, np.where(truth, -scaled, scaled)).mean())
        total = np.logaddexp.reduce(scaled, axis=0)
        return float((total - scaled.max(axis=0, where=truth, initial=-np.inf)).mean())

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(surprise, bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def _ece_left_out(told: Sequence[CaseEvidence], task: Task) -> tuple[float, float]:
    """Calibration error without a temperature, and with one that other cases chose."""
    counts = [_reliability(told, task, 1.0), np.zeros(())]
    for left_out in _folds([case.subject for case in told]):
        rest, part = (
            [case for case, out in zip(told, left_out, strict=True) if out == wanted]
            for wanted in (False, True)
        )
        counts[1] = counts[1] + _reliability(part, task, fit_temperature(rest, task))
    before, after = (expected_calibration_error(each) for each in counts)
    return before, after


def _reliability(
    told: Sequence[CaseEvidence], task: Task, temperature: float
) -> Float[np.ndarray, "3 bins"]:
    logits = np.concatenate([case.logits for case in told], axis=1)
    truth = np.concatenate([case.truth for case in told], axis=1)
    probabilities = probabilities_of(logits / np.float32(temperature), task)
    if task == "regions":
        confidence = np.maximum(probabilities, 1 - probabilities)
        return reliability(confidence, (probabilities > 0.5) == truth)
    winner = probabilities.argmax(axis=0)
    is_right = np.take_along_axis(truth, winner[None], axis=0)[0]
    return reliability(probabilities.max(axis=0), is_right)


def _folds(subjects: Sequence[str | None]) -> Iterator[Bool[np.ndarray, " n"]]:
    """Which cases are left out, each once, those of a subject together where there are several."""
    units = units_of(subjects)
    count = int(units.max()) + 1
    folds = min(count, MOST_FOLDS)
    for fold in range(folds):
        yield units % folds == fold

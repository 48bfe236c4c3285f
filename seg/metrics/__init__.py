"""How good a mask is, and how sure that is."""

from seg.metrics.bootstrap import Estimate, bootstrap_mean, members_of
from seg.metrics.calibration import expected_calibration_error, reliability
from seg.metrics.features import FeatureStatistics
from seg.metrics.matching import (
    IOU_THRESHOLDS,
    Fate,
    ObjectCounts,
    Overlaps,
    count_objects,
    fates_of,
    is_hit,
    overlaps,
)
from seg.metrics.outlines import same_outlines
from seg.metrics.overlap import confusion_matrix, dice, dice_per_class, iou, iou_per_class
from seg.metrics.paired import PairedTest, paired_test
from seg.metrics.predicted_dice import (
    DiceCalibration,
    PredictedDice,
    SelfAssessment,
    ShiftCalibration,
    Spread,
    expected_dice,
    spread_of,
)
from seg.metrics.student import student_mean
from seg.metrics.surface import hausdorff95, surface_dice, surface_scores

__all__ = [
    "IOU_THRESHOLDS",
    "DiceCalibration",
    "Estimate",
    "Fate",
    "FeatureStatistics",
    "ObjectCounts",
    "Overlaps",
    "PairedTest",
    "PredictedDice",
    "SelfAssessment",
    "ShiftCalibration",
    "Spread",
    "bootstrap_mean",
    "confusion_matrix",
    "count_objects",
    "dice",
    "dice_per_class",
    "expected_calibration_error",
    "expected_dice",
    "fates_of",
    "hausdorff95",
    "iou",
    "iou_per_class",
    "is_hit",
    "members_of",
    "overlaps",
    "paired_test",
    "reliability",
    "same_outlines",
    "spread_of",
    "student_mean",
    "surface_dice",
    "surface_scores",
]

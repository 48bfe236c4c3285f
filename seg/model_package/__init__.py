"""The model package: the only thing that training and service both know.

A folder with ``model.json`` (the card) and its hash, one ONNX file a variant and ``golden.npz``
(real patches with the network's own logits). It is read strictly and written whole or not at all.
"""

from typing import TYPE_CHECKING

from seg.late import late_names

if TYPE_CHECKING:
    from seg.model_package.card import (
        CASE_PICTURES,
        Averaging,
        CaseRank,
        Example,
        ModelCard,
        PicturedCase,
        Postprocessing,
        Task,
        Touching,
    )
    from seg.model_package.empty import Empty
    from seg.model_package.example import add_example
    from seg.model_package.faster_ways import (
        FEWEST_CASES,
        FasterWays,
        OverlapCost,
        Precision,
        PrecisionCost,
        WayCost,
    )
    from seg.model_package.folder import (
        CARD_FILE,
        CARD_HASH_FILE,
        GoldenSamples,
        ModelPackage,
        accept_card,
        add_golden_objects,
        read_card,
        write_card,
        write_golden,
    )
    from seg.model_package.input_spec import Channel, InputSpec
    from seg.model_package.instances import (
        CountCalibration,
        Encoding,
        Instances,
        ObjectRule,
        ScoreCalibration,
        SplitRule,
        Splitting,
    )
    from seg.model_package.pictured_cases import CasePictures, add_pictured_cases
    from seg.model_package.provenance import (
        IntensityStatistics,
        Pretraining,
        Provenance,
        TrainingFingerprint,
    )
    from seg.model_package.standing import ObjectLevel, StandsOut
    from seg.model_package.variants import (
        PROBABILITY_TOLERANCE,
        Score,
        Tolerance,
        Variant,
        Weights,
    )

__all__ = [
    "CARD_FILE",
    "CARD_HASH_FILE",
    "CASE_PICTURES",
    "FEWEST_CASES",
    "PROBABILITY_TOLERANCE",
    "Averaging",
    "CasePictures",
    "CaseRank",
    "Channel",
    "CountCalibration",
    "Empty",
    "Encoding",
    "Example",
    "FasterWays",
    "GoldenSamples",
    "InputSpec",
    "Instances",
    "IntensityStatistics",
    "ModelCard",
    "ModelPackage",
    "ObjectLevel",
    "ObjectRule",
    "OverlapCost",
    "PicturedCase",
    "Postprocessing",
    "Precision",
    "PrecisionCost",
    "Pretraining",
    "Provenance",
    "Score",
    "ScoreCalibration",
    "SplitRule",
    "Splitting",
    "StandsOut",
    "Task",
    "Tolerance",
    "Touching",
    "TrainingFingerprint",
    "Variant",
    "WayCost",
    "Weights",
    "accept_card",
    "add_example",
    "add_golden_objects",
    "add_pictured_cases",
    "read_card",
    "write_card",
    "write_golden",
]

__getattr__ = late_names(
    __name__,
    "empty",
    "input_spec",
    "variants",
    "provenance",
    "card",
    "instances",
    "standing",
    "faster_ways",
    "folder",
    "example",
    "pictured_cases",
)

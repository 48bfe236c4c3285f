"""The made-up models that ``record.py`` has nnU-Net train: plans, labels and an image each."""

from typing import Any

INSTANCE = {"eps": 1e-5, "affine": True}
RESAMPLING = {
    f"resampling_fn_{what}": "resample_data_or_seg_to_shape"
    for what in ("data", "seg", "probabilities")
} | {
    f"resampling_fn_{what}_kwargs": {
        "is_seg": what == "seg",
        "order": 3 if what == "data" else 1,
        "order_z": 0,
        "force_separate_z": None,
    }
    for what in ("data", "seg", "probabilities")
}


def network(kind: str, dims: int, strides: list, kernels: list) -> dict[str, Any]:
    stages = len(strides)
    convs = (
        {"n_blocks_per_stage": [1, 2, 1][:stages], "n_conv_per_stage_decoder": [1] * (stages - 1)}
        if kind == "ResidualEncoderUNet"
        else {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
    )
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [3, 4, 6][:stages],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": kernels,
            "strides": strides,
            **convs,
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": INSTANCE,
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans(name: str, configuration: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "dataset_name": f"Dataset001_{name}",
        "plans_name": "tinyPlans",
        "experiment_planner_used": "recorded",
        "label_manager": "LabelManager",
        "configurations": {
            configuration: {
                "data_identifier": "none",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": True,
                **RESAMPLING,
                **settings,
            }
        },
        **more,
    }


CASES: dict[str, dict[str, Any]] = {
    # Thick sagittal slices amid zeros, a CT and an MR channel, two folds.
    "thick": {
        "configuration": "3d_fullres",
        "ending": ".nii.gz",
        "shape": (34, 40, 13),
        "spacing": (1.0, 1.1, 3.6),
        "folds": [0, 1],
        "mirror": (1, 2),
        "dataset": {
            "channel_names": {"0": "CT", "1": "MRI"},
            "labels": {"background": 0, "organ": 1, "lesion": 2},
        },
        "plans": plans(
            "thick",
            "3d_fullres",
            {
                "patch_size": [8, 24, 20],
                "spacing": [3.0, 1.3, 1.2],
                "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
                "use_mask_for_norm": [False, True],
                "architecture": network(
                    "ResidualEncoderUNet",
                    3,
                    [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
                    [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
                ),
            },
            image_reader_writer="SimpleITKIO",
            transpose_forward=[2, 0, 1],
            transpose_backward=[1, 2, 0],
            original_median_spacing_after_transp=[3.6, 1.0, 1.1],
            original_median_shape_after_transp=[13, 34, 40],
            foreground_intensity_properties_per_channel={
                "0": {"mean": 120.0, "std": 60.0, "percentile_00_5": -20.0,
                      "percentile_99_5": 220.0, "min": -30.0, "max": 260.0, "median": 120.0},
                "1": {"mean": 0.0, "std": 1.0, "percentile_00_5": 0.0, "percentile_99_5": 1.0,
                      "min": 0.0, "max": 300.0, "median": 0.0},
            },
        ),
    },
    # Colour pictures, smaller than the patch along one axis, regions and an ignore label.
    "picture": {
        "configuration": "2d",
        "ending": ".png",
        "shape": (40, 75),
        "folds": ["all"],
        "mirror": (0, 1),
        "dataset": {
            "channel_names": {"0": "R", "1": "G", "2": "B"},
            "labels": {"background": 0, "cell": [1, 2], "nucleus": 2, "ignore": 3},
            "regions_class_order": [1, 2],
        },
        "plans": plans(
            "picture",
            "2d",
            {
                "patch_size": [48, 32],
                "spacing": [1.0, 1.0],
                "normalization_schemes": ["RGBTo01Normalization"] * 3,
                "use_mask_for_norm": [False] * 3,
                "architecture": network(
                    "PlainConvUNet", 2, [[1, 1], [2, 2], [2, 2]], [[3, 3], [3, 3], [3, 3]]
                ),
            },
            image_reader_writer="NaturalImage2DIO",
            transpose_forward=[0, 1, 2],
            transpose_backward=[0, 1, 2],
            original_median_spacing_after_transp=[999.0, 1.0, 1.0],
            original_median_shape_after_transp=[1, 40, 75],
            foreground_intensity_properties_per_channel={
                str(c): {"mean": 100.0, "std": 50.0, "percentile_00_5": 0.0,
                         "percentile_99_5": 255.0, "min": 0.0, "max": 255.0, "median": 100.0}
                for c in range(3)
            },
        ),
    },
    # A 2D network that goes through a volume slice by slice.
    "slices": {
        "configuration": "2d",
        "ending": ".nii.gz",
        "shape": (9, 44, 50),
        "spacing": (2.0, 1.5, 1.4),
        "folds": [0],
        "mirror": (0, 1),
        "dataset": {
            "channel_names": {"0": "US"},
            "labels": {"background": 0, "bright": 1, "brightest": 2},
        },
        "plans": plans(
            "slices",
            "2d",
            {
                "patch_size": [32, 40],
                "spacing": [1.2, 1.2],
                "normalization_schemes": ["RescaleTo01Normalization"],
                "use_mask_for_norm": [False],
                "architecture": network(
                    "ResidualEncoderUNet", 2, [[1, 1], [2, 2], [2, 2]], [[3, 3], [3, 3], [3, 3]]
                ),
            },
            image_reader_writer="SimpleITKIO",
            transpose_forward=[0, 1, 2],
            transpose_backward=[0, 1, 2],
            original_median_spacing_after_transp=[2.0, 1.5, 1.4],
            original_median_shape_after_transp=[9, 44, 50],
            foreground_intensity_properties_per_channel={
                "0": {"mean": 100.0, "std": 50.0, "percentile_00_5": 0.0, "percentile_99_5": 255.0,
                      "min": 0.0, "max": 255.0, "median": 100.0}
            },
        ),
    },
}  # fmt: skip

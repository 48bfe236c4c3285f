"""From models of other software to packages: ``python -m training.adopt nnunet FOLDER -o DIR``.

The libraries of a kind are imported when it is asked for.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from seg.commands import add_target, count, exit_status, finite, path_named, positive
from seg.verbs import called, served

if TYPE_CHECKING:
    from seg.model_package import ModelCard
    from training.interchange.adopted_package import Adopted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    command = called("training.adopt", *arguments)
    return exit_status(partial(_run, options, command))


def _run(options: argparse.Namespace, command: str) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from seg.held_folders import new_folder
    from training.interchange.adopted_package import write_adopted

    with new_folder(options.target):
        model, remarks = options.adopt(options)
        package, worst = write_adopted(
            model, options.target, command, options.images, options.stored_as, options.overlap
        )
    card = package.card
    remarks = [*remarks, *_placed_in_words(card)]
    lines = [
        f"classes   {', '.join(info.name for info in card.classes)} ({card.task})",
        f"patch     {' x '.join(map(str, card.input.patch))}, "
        f"{len(card.variants)} network{'s' * (len(card.variants) > 1)}",
        *(f"note      {remark}" for remark in remarks),
        f"proven    ONNX and network agree to {worst:.1e} in probabilities",
        f"package   {package.path}",
        f"serve it  {served(package.path)}",
    ]
    print("\n".join(lines))  # noqa: T201
    return 0


def _placed_in_words(card: "ModelCard") -> list[str]:
    """How voxels lie, and what is not mirrored."""
    from seg.model_package.sides import in_words

    spec, words = card.input, []
    if spec.orientation:
        words.append(f"images are turned to {spec.orientation}, masks back")
    elif spec.dims == 3:
        words.append(
            "nothing says in which voxel order the model was trained, so images are taken as they "
            "are stored; --stored-as RAS states it, or --images with images of the training"
        )
    if card.sided and spec.between_sides is not None:
        words.append(
            f"never mirrored along {'zyx'[-spec.dims :][spec.between_sides]}, between left and "
            f"right: {in_words(card.sided)} would change places"
        )
    return words


def _nnunet(options: argparse.Namespace) -> "tuple[Adopted, list[str]]":
    from training.interchange.nnunet.adopt import Choice, adopt_nnunet

    choice = Choice(
        tuple(options.folds), options.checkpoint, options.postprocessing, options.postprocess
    )
    return adopt_nnunet(options.folder, choice)


def _monai(options: argparse.Namespace) -> "tuple[Adopted, list[str]]":
    from training.interchange.monai.adopt import adopt_monai

    return adopt_monai(options.folder, patch=options.patch)


def _smp(options: argparse.Namespace) -> "tuple[Adopted, list[str]]":
    from training.interchange.smp_model import IMAGENET, Built, adopt_smp

    built = Built(
        arch=options.arch,
        encoder=options.encoder,
        classes=tuple(options.classes),
        in_channels=options.in_channels,
        patch=tuple(options.patch),
        normalisation=options.normalisation,
        mean=tuple(options.mean or IMAGENET[0]),
        std=tuple(options.std or IMAGENET[1]),
        regions=options.regions,
    )
    return adopt_smp(options.file, built)


def _onnx(options: argparse.Namespace) -> "tuple[Adopted, list[str]]":
    from training.interchange.described import read_description
    from training.interchange.onnx_file import adopt_onnx

    return adopt_onnx(options.file, read_description(options.spec))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.adopt"),
        description="Make a model package of a model that was trained with other software.",
    )
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    _add_nnunet(kinds.add_parser("nnunet", help="a results folder of nnU-Net 2"))
    _add_monai(kinds.add_parser("monai", help="a MONAI bundle"))
    _add_smp(kinds.add_parser("smp", help="weights of segmentation-models-pytorch"))
    _add_onnx(kinds.add_parser("onnx", help="any segmentation network as ONNX"))
    return parser


def _add_nnunet(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=path_named, metavar="RESULTS",
        help="folder with plans.json, dataset.json and fold_*")  # fmt: skip
    _add_common(parser)
    add("--folds", nargs="+", default=(), metavar="N",
        help="0, 1, ... or all; several are an ensemble (default: all numbered ones)")  # fmt: skip
    add("--checkpoint", metavar="FILE",
        help="in each fold (default: checkpoint_final.pth, else checkpoint_best.pth)")  # fmt: skip
    add("--postprocessing", type=path_named, metavar="FILE",
        help="a postprocessing.json (default: that of the cross-validation, if there)")  # fmt: skip
    add("--no-postprocessing", dest="postprocess", action="store_false", help="leave it out")
    parser.set_defaults(adopt=_nnunet)


def _add_monai(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=path_named, metavar="BUNDLE", help="folder with configs/ and models/")
    _add_common(parser)
    add("--patch", type=count, nargs="+", metavar="N", help="z y x (default: the bundle's)")
    parser.set_defaults(adopt=_monai)


def _add_smp(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=path_named, metavar="CHECKPOINT", help="safetensors, or a state dict of torch")
    _add_common(parser)
    add("--arch", required=True, metavar="NAME", help="unet, fpn, deeplabv3plus, ...")
    add("--encoder", required=True, metavar="NAME", help="resnet34, tu-convnext_tiny, ...")
    add("--classes", nargs="+", required=True, metavar="NAME",
        help="background first; a single one is told from background by a sigmoid")  # fmt: skip
    add("--regions", action="store_true",
        help="classes overlap, and the network has no channel for background")  # fmt: skip
    add("--in-channels", type=count, default=3, metavar="N", help="default: 3")
    add("--patch", type=count, nargs=2, default=(512, 512), metavar="N", help="default: 512 512")
    add("--normalisation", choices=("imagenet", "unit", "zscore"), default="imagenet",
        help="imagenet: bytes / 255, less --mean, by --std; unit: bytes / 255")  # fmt: skip
    add("--mean", type=finite, nargs="+", metavar="X", help="default: ImageNet's")
    add("--std", type=positive, nargs="+", metavar="X", help="default: ImageNet's")
    parser.set_defaults(adopt=_smp)


def _add_onnx(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "file",
        type=path_named,
        metavar="FILE",
        help="ONNX with one input (b, c, y, x) or (b, c, z, y, x)",
    )
    _add_common(parser)
    add("--spec", type=path_named, required=True, metavar="FILE",
        help="spec.yaml: classes, channels and preprocessing (docs/adopt.md)")  # fmt: skip
    parser.set_defaults(adopt=_onnx)


def _share(text: str) -> float:
    share = finite(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError("must be 0 to below 1")
    return share


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_target(parser)
    add("--stored-as", metavar="AXCODES",
        help="voxel order of the training's images, such as RAS")  # fmt: skip
    add("--overlap", type=_share, metavar="S",
        help="of windows in whole images, 0 to below 1 (default: the model's own)")  # fmt: skip
    add("--images", type=path_named, metavar="DIR",
        help="images like those of the training, to prove it on, and to measure faster precisions "
             "(default: noise, and float32 alone)")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

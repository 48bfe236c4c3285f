"""Images that nobody annotated, in the order in which annotating them is worth most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seg.errors import DatasetError, ImageError
from seg.images import Image, images_at, read_channels, stem_of
from seg.inference import Predictor, load_backend
from seg.inference.trust.worth import ImageLook, RankedImage, described, ranked, soft_dice_of
from seg.model_package import ModelPackage
from seg.names import MapName, Provider
from training.dataset.layouts.files import cases_of, files_in
from training.dataset.survey import Survey

MAPS: tuple[MapName, ...] = ("probabilities",)


def rank(
    folder: Path, package: Path, minutes: float | None = None, provider: Provider = "auto"
) -> list[RankedImage]:
    """The images of a folder without a mask.

    Args:
        folder: with ``images/`` and, as far as there are any, ``masks/``.
        package: that looks at them.
        minutes: of a person; None ranks all.
        provider: of the network.

    Raises:
        SegError: folder or package cannot be read, or all images have masks.
    """
    if not (folder / "images").is_dir():
        raise DatasetError(f"{folder} needs a folder images with the images to rank")
    loaded = ModelPackage.load(package)
    dims = loaded.card.input.dims
    masks = {}
    if (folder / "masks").is_dir():
        masks = {stem_of(path): path for path in images_at(folder / "masks", dims)}
    files = cases_of(files_in(folder / "images"), masks, Survey())
    left = {name: paths for name, paths in files.items() if name not in masks}
    if not left:
        raise DatasetError(f"all {len(files)} images of {folder} have masks; there is none to rank")
    predictor = Predictor(loaded, load_backend(loaded, provider=provider))
    looks = {
        name: look_at(predictor, read_channels(paths, dims=dims))
        for name, paths in tqdm(left.items(), desc="looking", unit="image", disable=None)
    }
    known = [
        look_at(predictor, read_channels(files[name], dims=dims)).described
        for name in tqdm(sorted(files.keys() & masks), desc="known", unit="image", disable=None)
    ]
    return ranked(looks, known, None if minutes is None else 60 * minutes)


def look_at(predictor: Predictor, image: Image) -> ImageLook:
    """What a model makes of an image.

    Raises:
        DatasetError: it does not fit the model.
    """
    try:
        found = predictor.segment(image, maps=MAPS, with_objects=True)
    except ImageError as error:
        raise DatasetError(f"{image.file_name}: {error}") from error
    dice = found.quality.predicted_dice.values()
    assert found.objects is not None
    return ImageLook(
        predicted_dice=sum(dice) / len(dice) if dice else None,
        soft_dice=soft_dice_of(found.maps["probabilities"].array),
        warnings=len(found.quality.warnings),
        objects=int(found.objects.labels.max(initial=0)),
        described=described(image, found.maps["probabilities"].array),
    )


def as_rows(order: Sequence[RankedImage]) -> list[dict[str, Any]]:
    """For programs."""
    return [{"image": each.name, **each.row} for each in order]


def as_table(order: Sequence[RankedImage]) -> str:
    """For a terminal."""
    width = max(len("image"), *(len(each.name) for each in order))
    lines = [f"{'image':{width}}  predicted Dice  unlike others  objects  minutes  in all"]
    spent = 0.0
    for each in order:
        spent += each.seconds / 60
        dice = each.look.predicted_dice
        strange = ", unlike the training" if each.look.warnings else ""
        lines.append(
            f"{each.name:{width}}  {'-' if dice is None else f'{dice:.3f}':>14}  "
            f"{each.unlike:13.2f}  {each.look.objects or 0:7}  {each.seconds / 60:7.1f}  "
            f"{spent:6.1f}{strange}"
        )
    return "\n".join(lines)

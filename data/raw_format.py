"""Writes datasets in nnU-Net raw format.

``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and ``dataset.json``; one file a channel
(``CASE_0000.tif``). Where objects are numbered, ``instancesTr`` and ``instancesTs`` hold the
numbers, which nnU-Net itself passes over. Format: nnU-Net's documentation/dataset_format.md,
version 2.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seg.images import ClassInfo, Image, Mask, write_image, write_mask, write_objects
from seg.model_package import Channel

_SUFFIX = {"train": "Tr", "test": "Ts"}
_MASK_FORMAT = {".tif": "tiff", ".nii.gz": "nifti"}


@dataclass
class RawFolder:
    """A dataset folder that is being filled."""

    folder: Path
    name: str
    channels: tuple[Channel, ...]
    classes: tuple[ClassInfo, ...]
    file_ending: str
    _origins: dict[str, str] = field(default_factory=dict)
    _training: int = 0

    def __post_init__(self) -> None:
        for suffix in _SUFFIX.values():
            (self.folder / f"images{suffix}").mkdir(parents=True)
            (self.folder / f"labels{suffix}").mkdir()

    def add(
        self,
        split: Literal["train", "test"],
        image: Image,
        mask: Mask,
        objects: Mask | None = None,
        *,
        origin: str,
    ) -> None:
        """Write one case.

        Args:
            split: where it belongs.
            image: of the case.
            mask: its classes.
            objects: their numbers, where they are known.
            origin: which part of the source it is.
        """
        case = f"{self.name}_{len(self._origins):03d}"
        self._origins[case] = origin
        self._training += split == "train"
        images = self.folder / f"images{_SUFFIX[split]}"
        for index, channel in enumerate(image.array):
            one = Image(channel[None], spacing=image.spacing, affine=image.affine)
            write_image(images / f"{case}_{index:04d}{self.file_ending}", one)
        labels = self.folder / f"labels{_SUFFIX[split]}" / f"{case}{self.file_ending}"
        write_mask(labels, mask, _MASK_FORMAT[self.file_ending], self.classes)
        if objects is not None:
            numbers = self.folder / f"instances{_SUFFIX[split]}"
            numbers.mkdir(exist_ok=True)
            write_objects(numbers / f"{case}{self.file_ending}", objects)

    def finish(self, **about: Any) -> None:
        """Write ``dataset.json`` with further keys about the source."""
        content = {
            "channel_names": {str(i): channel.name for i, channel in enumerate(self.channels)},
            "labels": {each.name: each.index for each in self.classes},
            "numTraining": self._training,
            "file_ending": self.file_ending,
            "name": self.name,
            "modalities": [channel.modality for channel in self.channels],
            "colors": {each.name: each.color for each in self.classes},
            **about,
            "cases": self._origins,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (self.folder / "dataset.json").write_text(text, encoding="utf-8")

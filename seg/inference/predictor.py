"""Image to mask, the steps in the order in which they happen.

Evaluation, ``python -m seg.predict`` and the service all call this. Letters: ``k`` classes.
"""

import secrets
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ConfigError, ImageError
from seg.images import Image, ImageSource, MadeBy, Mask
from seg.images.grid.orientation import Turn, turn_to, turned_image, turned_source
from seg.inference.backends.combined import MirrorBackend
from seg.inference.backends.loading import load_backend
from seg.inference.backends.onnx import Backend
from seg.inference.backends.ways import way_of
from seg.inference.labels.decision import probabilities_of
from seg.inference.labels.postprocess import postprocess
from seg.inference.labels.selection import EVERYTHING, Selection
from seg.inference.slab_labels import Observe, SlabLabels
from seg.inference.slab_logits import SlabLogits
from seg.inference.tiling.blending import rows_at_once
from seg.inference.tiling.sliding_window import Progress, WindowCounts
from seg.inference.trust.disagreement import DisagreementBackend
from seg.inference.trust.familiarity import unfamiliar
from seg.inference.trust.quality import QualityMeter, Segmentation
from seg.model_package import ModelCard, ModelPackage
from seg.names import MapName
from seg.objects import Objects, ObjectsMeter, SlabTaker, class_logits, splitting_warning


class Predictor:
    """A model package that is ready to segment."""

    def __init__(  # noqa: PLR0913 - all that a user may choose of how images are segmented
        self,
        package: ModelPackage,
        backend: Backend | None = None,
        *,
        mirror: bool = False,
        voices: Sequence[Backend] = (),
        skip_empty: bool = True,
        selection: Selection = EVERYTHING,
        overlap: float | None = None,
    ) -> None:
        """Use ``backend``, or load the package with onnxruntime: its ensemble, or first variant.

        Args:
            package: says what is done before and after the network.
            backend: the network.
            mirror: average the logits over all mirrors of a patch: slower by 4 in 2D, by 8 in 3D;
                over those that the package allows.
            voices: networks that are heard for a map of disagreement only, e.g. the package's other
                ones (``voices_of``).
            skip_empty: do not ask the network about windows that the package knows to be empty.
            selection: what the masks and maps hold.
            overlap: share of a window that its neighbour covers as well; None is the package's.

        Raises:
            BackendError: the model cannot be loaded here.
            ConfigError: the model has no such class, or must not be mirrored; or no such overlap
                can be.
        """
        selection.check(package.card)
        backend = backend or load_backend(package)
        package = package.as_variant(way_of(backend).variant)
        self.package = package
        self.backend = MirrorBackend(backend, _mirrors(package.card)) if mirror else backend
        self.voices = tuple(voices)
        self.skip_empty = skip_empty
        self.selection = selection
        self.overlap = package.card.input.overlap if overlap is None else overlap
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"windows overlap by 0 to below 1 of their size, got {overlap:g}")
        self._logits = SlabLogits(
            card=package.card, selection=selection, overlap=self.overlap, skip_empty=skip_empty
        )
        self._slab_labels = SlabLabels(self._logits)

    @property
    def made_by(self) -> MadeBy:
        """What its masks say of themselves: the package, and how its network ran here."""
        precision = way_of(self.backend).precision
        return replace(self.package.made_by, precision=precision, overlap=self.overlap)

    def segment(
        self,
        image: Image,
        progress: Progress | None = None,
        maps: Collection[MapName] = (),
        *,
        with_objects: bool = False,
    ) -> Segmentation:
        """The mask of ``predict``, and what the model knows of it.

        Args:
            image: as of ``predict``.
            progress: as of ``predict``.
            maps: to keep; each costs two bytes a voxel and channel. Disagreement is that of the
                ensemble, of the mirrored passes and of ``voices``.
            with_objects: tell the objects of each class apart as well.

        Raises:
            ImageError: the image does not fit the model.
            ConfigError: disagreement of a single network was asked for.
        """
        card = self.package.card
        turn = self.turn_of(image)
        turned = turned_image(image, turn)
        meter = QualityMeter(card, turned.spatial_shape, maps, self.selection)
        backend = self.backend
        if "disagreement" in maps:
            backend = DisagreementBackend(backend, self.voices, card.task, card.votes)
        counts = WindowCounts()
        taker = ObjectsMeter(card, turned.spatial_shape) if with_objects else None
        labels = self._labels(backend, turned, progress, meter, counts, taker)
        objects = self._objects(image, turned, turn, taker, labels) if taker else None
        notes = (*image.notes, *self.warnings(turned), *(objects.notes if objects else ()))
        quality = meter.quality(notes, counts)
        found = {
            name: Image.on_grid_of(image, np.ascontiguousarray(turn.back(array)))
            for name, array in meter.maps.items()
        }
        return Segmentation(
            Mask.on_grid_of(image, np.ascontiguousarray(turn.back(labels))),
            quality,
            found,
            counts,
            classes=self.selection.classes_of(card),
            channels=self.selection.channels_of(card),
            threshold=0.5 if self.selection.threshold is None else self.selection.threshold,
            made_by=replace(
                self.made_by,
                run=secrets.token_hex(16),
                predicted_dice=quality.predicted_dice,
                expected_error=quality.expected_error,
                warnings=quality.warnings,
            ),
            objects=objects,
        )

    def _objects(
        self,
        image: Image,
        turned: Image,
        turn: Turn,
        meter: ObjectsMeter,
        labels: UInt8[np.ndarray, "*spatial"],
    ) -> Objects:
        """Found in the voxel order of the training, numbered in it, and turned back."""
        objects = self.objects_within(meter, Mask.on_grid_of(turned, labels))
        numbers = np.ascontiguousarray(turn.back(objects.labels))
        return replace(
            objects,
            labels=numbers,
            spacing=image.spacing,
            affine=image.affine,
            reduction=image.reduction,
            region=self.selection.region_on(image),
        )

    def objects_within(self, meter: ObjectsMeter, mask: Mask) -> Objects:
        """Those that are wanted, of a mask that is turned as the meter's slabs were."""
        wanted = self.selection
        by_likeliest = wanted.threshold is None
        return meter.objects(mask, wanted.classes, splits=wanted.split, is_calibrated=by_likeliest)

    def objects(self, image: Image, progress: Progress | None = None) -> Objects:
        """The objects of an image, each told from the others, on the image's own grid.

        Raises:
            ImageError: as ``predict``.
        """
        return self.predict_with_objects(image, progress=progress)[1]

    def predict_with_objects(
        self,
        image: Image,
        observe: Observe | None = None,
        progress: Progress | None = None,
        counts: WindowCounts | None = None,
    ) -> tuple[Mask, Objects]:
        """The mask of ``predict`` and its objects, in one pass.

        Raises:
            ImageError: as ``predict``.
        """
        turn = self.turn_of(image)
        turned = turned_image(image, turn)
        meter = ObjectsMeter(self.package.card, turned.spatial_shape)
        labels = self._labels(self.backend, turned, progress, observe, counts, meter)
        mask = Mask.on_grid_of(image, np.ascontiguousarray(turn.back(labels)))
        return mask, self._objects(image, turned, turn, meter, labels)

    def predict(
        self,
        image: Image,
        progress: Progress | None = None,
        observe: Observe | None = None,
        counts: WindowCounts | None = None,
    ) -> Mask:
        """The mask of an image, on the image's own grid.

        Args:
            image: in the intensities of its file; spacing in mm.
            progress: called with windows done and windows in all.
            observe: called with each slab of logits and its labels, on the image's grid as
                ``turn_of`` turns it.
            counts: is filled in with what became of the windows.

        Raises:
            ImageError: the image does not fit the model (dimensions, channels, NaN).
        """
        turn = self.turn_of(image)
        turned = turned_image(image, turn)
        labels = self._labels(self.backend, turned, progress, observe, counts)
        return Mask.on_grid_of(image, np.ascontiguousarray(turn.back(labels)))

    def turn_of(self, source: ImageSource) -> Turn:
        """What turns an image to the voxel order that the network was trained in.

        All that happens to an image happens in that order, so that the same volume gives the same
        mask in the world however its voxels are stored.
        """
        turn = turn_to(source, self.package.card.input.orientation)
        if self.selection.region is not None and not turn.is_nothing:
            raise ImageError("a region is of pictures in their own order of pixels")
        return turn

    def warnings(self, source: ImageSource) -> tuple[str, ...]:
        """A sentence for each way in which an image is unlike those that the model knows."""
        card = self.package.card
        turned = turned_source(source, self.turn_of(source))
        found = unfamiliar(turned, card.input, card.fingerprint, card.sided)
        about_split = splitting_warning(card) if self.selection.split else None
        return (*found, about_split) if about_split else found

    def labels_observed(self, image: Image, taker: SlabTaker) -> UInt8[np.ndarray, "*spatial"]:
        """Labels while ``taker`` is told every channel of logits; as ``turn_of`` turns them.

        Raises:
            ImageError: as ``predict``.
        """
        turned = turned_image(image, self.turn_of(image))
        return self._labels(self.backend, turned, None, None, objects=taker)

    def rows_observed(
        self,
        turned: ImageSource,
        taker: SlabTaker,
        progress: Progress | None = None,
        counts: WindowCounts | None = None,
        observe: Observe | None = None,
        first: int = 0,
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "*slab"]]]:
        """The same of an image that is turned already and may stay in its file.

        First row and labels of each part, before postprocessing, of the wanted classes only where
        there is none. Parts before row ``first``, one that began a part, are left out.

        Raises:
            ImageError: as ``predict``.
        """
        card = self.package.card
        for raw, slab, rows in self._slab_labels.labelled(
            self.backend, turned, progress, counts, first
        ):
            if observe:
                observe(slab, rows)
            taker.take(raw.start, raw.logits, rows)
            wanted = rows
            if not card.postprocessing.has_rules:
                wanted = self.selection.applied(rows, card.classes)
            yield raw.start, wanted

    def label_rows(
        self,
        source: ImageSource,
        progress: Progress | None = None,
        counts: WindowCounts | None = None,
        observe: Observe | None = None,
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "*slab"]]]:
        """First row and labels of each part, in order, before postprocessing.

        In memory are one patch's depth of image and logits, so the image may stay in its file.
        Where its rows are not those of the network, labels wait in a temporary file.

        Raises:
            ImageError: as ``predict``.
        """
        turn = self.turn_of(source)
        turned = turned_source(source, turn)
        parts = self._slab_labels.parts(self.backend, turned, progress, observe, counts)
        if turn.keeps_rows:
            yield from ((start, turn.back(rows)) for start, rows in parts)
            return
        with tempfile.TemporaryFile() as file:
            labels = np.memmap(file, np.uint8, "w+", shape=turned.spatial_shape)
            for start, rows in parts:
                labels[start : start + len(rows)] = rows
            stored = turn.back(labels)
            at_once = rows_at_once(1, stored.shape[1:])
            for start in range(0, len(stored), at_once):
                yield start, np.array(stored[start : start + at_once])

    def finished(
        self, labels: UInt8[np.ndarray, "*spatial"], turn: Turn | None = None
    ) -> UInt8[np.ndarray, "*spatial"]:
        """Labels of a whole image after postprocessing, and of the wanted classes only.

        Args:
            labels: as ``turn`` turns them where it is not given, else as they are stored.
            turn: that of the image.
        """
        card = self.package.card
        if turn is not None and not turn.is_nothing:
            turned = np.ascontiguousarray(turn.there(labels))
            return np.ascontiguousarray(turn.back(self.finished(turned)))
        labels = postprocess(labels, card.postprocessing, card.classes)
        return self.selection.applied(labels, card.classes)

    def predict_probabilities(
        self, image: Image, progress: Progress | None = None
    ) -> Float32[np.ndarray, "k *spatial"]:
        """Probabilities on the image's own grid: of all classes, or of each region.

        Calibrated where the package has a temperature.

        Raises:
            ImageError: as ``predict``.
        """
        card = self.package.card
        temperature = np.float32(card.quality.temperature if card.quality else 1)
        turn = self.turn_of(image)
        turned = turned_image(image, turn)
        probabilities = np.empty((card.outputs, *turned.spatial_shape), np.float32)
        for slab in self._logits.slabs(self.backend, turned, progress):
            logits = class_logits(slab.logits, card)
            found = probabilities_of(logits / temperature, card.task)
            probabilities[:, slab.start : slab.stop] = found
        return np.ascontiguousarray(turn.back(probabilities))

    def _labels(
        self,
        backend: Backend,
        image: Image,
        progress: Progress | None,
        observe: Observe | None,
        counts: WindowCounts | None = None,
        objects: SlabTaker | None = None,
    ) -> UInt8[np.ndarray, "*spatial"]:
        """Of an image that is turned already, after postprocessing."""
        labels = self._slab_labels.of_image(backend, image, progress, observe, counts, objects)
        return self.finished(labels)


def _mirrors(card: ModelCard) -> tuple[int, ...]:
    """Axes to mirror along.

    Raises:
        ConfigError: there is none.
    """
    axes = card.mirrors
    if not axes:
        raise ConfigError(
            "this model must not be mirrored: no axis of its patches looks the same from both "
            "sides; leave the mirrors out"
        )
    return axes

"""Series whose slices lie as those of a volume do, and are of several all the same."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from seg.errors import ImageError, UnsupportedImageError
from seg.images import read_image
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series
from tests.seg.images.dicom.sources import multiframe_of

AFFINE = np.diag([0.8, 1.5, 3, 1.0])
VOLUME = np.zeros((6, 4, 5), np.int16)


def of_two(**values):
    """Every second slice has the second value of an attribute."""
    slices = series_of(VOLUME, AFFINE)
    for name, pair in values.items():
        for number, each in enumerate(slices):
            if pair[number % 2] is not None:
                setattr(each, name, pair[number % 2])
            elif name in each:
                delattr(each, name)
    return slices


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PatientID": ("P1", "P2")}, "of 2 patients"),
        ({"StudyInstanceUID": ("1.2.3", "1.2.4")}, "of 2 studies"),
        ({"FrameOfReferenceUID": ("1.2.3", "1.2.4")}, "of 2 frames of reference"),
        ({"Modality": ("MR", "CT")}, "of 2 modalities"),
        ({"EchoTime": (20, 80)}, "of 2 echo times"),
        ({"EchoNumbers": (1, 2)}, "of 2 echoes"),
        ({"DiffusionBValue": (0.0, 800.0)}, "of 2 b values"),
        ({"TemporalPositionIdentifier": (1, 2)}, "of 2 moments"),
        ({"ConvolutionKernel": ("B30f", "B70f")}, "of 2 reconstructions"),
        ({"ComplexImageComponent": ("MAGNITUDE", "PHASE")}, "of 2 parts"),
        ({"RescaleIntercept": (-1024, None)}, "3 of 6 DICOM slices do not say how"),
    ],
)
def test_slices_between_each_other_are_no_volume_where_they_are_of_several(tmp_path, values, words):
    with pytest.raises(ImageError, match=words):
        read_image(write_series(tmp_path / "series", of_two(**values)))


@pytest.mark.parametrize(
    "values",
    [
        {"EchoTime": ("2.46", "2.4601")},
        {"PatientID": ("P1", None)},
        {"RescaleIntercept": (0, None), "RescaleSlope": (1, None)},
        {"AcquisitionNumber": (1, 2)},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_differs_within_a_scan_does_not_part_it(tmp_path, values):
    image = read_image(write_series(tmp_path / "series", of_two(**values)), dims=3)
    assert image.spatial_shape == VOLUME.shape


@pytest.mark.parametrize(("stated", "is_said"), [(1.5, True), (3, False), (None, False)])
def test_every_second_slice_that_is_lost_is_told(tmp_path, stated, is_said):
    slices = series_of(VOLUME, AFFINE, **({"SpacingBetweenSlices": stated} if stated else {}))
    image = read_image(write_series(tmp_path / "series", slices), dims=3)
    assert ["slices may be missing" in note for note in image.notes] == [True] * is_said


@pytest.mark.parametrize(
    ("group", "name", "pair", "words"),
    [
        ("FrameContentSequence", "StackID", ("1", "2"), "of 2 stacks"),
        ("FrameContentSequence", "TemporalPositionIndex", (1, 2), "of 2 moments"),
        ("MREchoSequence", "EffectiveEchoTime", (20.0, 80.0), "of 2 echo times"),
        ("MRDiffusionSequence", "DiffusionBValue", (0.0, 800.0), "of 2 b values"),
    ],
)
def test_frames_between_each_other_are_no_volume_where_they_are_of_several(
    group, name, pair, words
):
    whole = multiframe_of(AFFINE, range(6))
    for number, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        setattr(item, name, pair[number % 2])
        setattr(groups, group, [item])
    with pytest.raises(ImageError, match=words):
        read_image(content_of(whole), dims=3)


@pytest.mark.parametrize(
    "kind", ["3.1", "12.1", "12.2", "77.1.1.1"], ids=["us", "xa", "rf", "endoscope"]
)
def test_a_film_is_no_volume_though_it_says_nothing_of_time(kind):
    film = slice_of(np.zeros((24, 5), np.uint8), SliceThickness=2, Rows=4, NumberOfFrames=6)
    film.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
    del film.ImagePositionPatient, film.ImageOrientationPatient
    with pytest.raises(UnsupportedImageError, match="one moment is needed"):
        read_image(content_of(film), dims=3)


@pytest.mark.parametrize(
    ("attributes", "is_said"),
    [
        ({}, False),
        ({"RescaleIntercept": ""}, True),
        ({"RescaleIntercept": "", "Modality": "MR"}, False),
    ],
)
def test_a_ct_that_does_not_state_its_scale_says_so(tmp_path, attributes, is_said):
    slices = series_of(VOLUME, AFFINE, **attributes)
    series = write_series(tmp_path / "series", slices)
    for path in (series, next(series.iterdir())):
        image = read_image(path)
        assert any("Hounsfield" in note for note in image.notes) is is_said

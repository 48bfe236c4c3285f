"""Places and sizes that stand where few programs look for them."""

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless

from seg.errors import ImageError, UnsupportedImageError
from seg.images import read_image
from tests.seg.images.dicom.files import AXIAL, content_of, slice_of

NUCLEAR, DOSE = "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.481.2"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
VOLUME = np.random.default_rng(0).integers(0, 4000, (5, 4, 6)).astype(np.uint16)


def frames_of(volume, **attributes):
    dataset = slice_of(volume.reshape(-1, volume.shape[2]), **attributes)
    dataset.Rows, dataset.NumberOfFrames = volume.shape[1], len(volume)
    return dataset


def spect(step=4.0, kind="RECON TOMO", orientation=AXIAL, **attributes):
    dataset = frames_of(VOLUME, SOPClassUID=NUCLEAR, Modality="NM", spacing=(4, 4), **attributes)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    detector = Dataset()
    detector.ImagePositionPatient = [-60, -70, 100]
    detector.ImageOrientationPatient = list(orientation)
    dataset.DetectorInformationSequence = [detector]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    dataset.SpacingBetweenSlices = step
    return content_of(dataset)


def test_spect_lies_where_its_detector_says():
    image = read_image(spect())
    np.testing.assert_array_equal(image.affine[:3, 3], [60, 70, 100])
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.spacing == (4, 4, 4)


def test_a_negative_spacing_stacks_the_slices_towards_the_other_side():
    image = read_image(spect(-4.0))
    np.testing.assert_array_equal(image.affine[:3, 3], [60, 70, 100 - 4 * 4])
    np.testing.assert_array_equal(image.array[0], VOLUME[::-1])
    assert image.spacing == (4, 4, 4)


def test_a_slice_vector_orders_the_frames_of_spect():
    image = read_image(spect(SliceVector=[3, 1, 2, 5, 4]))
    np.testing.assert_array_equal(image.array[0], VOLUME[[1, 2, 0, 4, 3]])


@pytest.mark.parametrize("kind", ["TOMO", "DYNAMIC", "GATED TOMO", "WHOLE BODY"])
def test_projections_and_moments_of_nuclear_medicine_are_no_volume(kind):
    with pytest.raises(UnsupportedImageError, match=f"no slices but {kind}"):
        read_image(spect(kind=kind))


def dose(first, z, orientation=AXIAL, step=2.5):
    return content_of(
        frames_of(
            VOLUME,
            SOPClassUID=DOSE,
            Modality="RTDOSE",
            position=(-10, -10, z),
            orientation=orientation,
            GridFrameOffsetVector=[first + step * k for k in range(len(VOLUME))],
            DoseGridScaling=1,
        )
    )


@pytest.mark.parametrize("first", [0, -50])
@pytest.mark.parametrize("step", [2.5, -2.5])
def test_offsets_of_a_dose_are_relative_or_positions_along_z(first, step):
    image = read_image(dose(first, -50, step=step))
    assert image.affine[2, 3] == min(-50, -50 + 4 * step)
    np.testing.assert_array_equal(image.array[0], VOLUME if step > 0 else VOLUME[::-1])


def test_positions_along_z_rise_also_where_the_normal_falls():
    image = read_image(dose(-50, -50, orientation=(1, 0, 0, 0, -1, 0)))
    np.testing.assert_array_equal(image.array[0], VOLUME[::-1])  # sorted along the normal
    np.testing.assert_array_equal(image.affine[:3, 2], [0, 0, -2.5])
    assert image.affine[2, 3] == -40


def test_offsets_of_a_dose_that_are_neither_are_refused():
    with pytest.raises(ImageError, match="neither with 0 nor with the z"):
        read_image(dose(7, -50))


@pytest.mark.parametrize("size", [[0, 0], [0, 1]])
def test_a_pixel_spacing_of_zero_is_none(size):
    image = read_image(content_of(slice_of(VOLUME[0], spacing=size)))
    assert image.spacing is None
    assert image.affine is None


def test_a_pixel_spacing_of_zero_gives_way_to_the_imager_s():
    dataset = slice_of(VOLUME[0], spacing=[0, 0], ImagerPixelSpacing=[0.2, 0.1])
    assert read_image(content_of(dataset)).spacing == (0.2, 0.1)


def echo(*regions):
    dataset = slice_of(VOLUME[0], SOPClassUID=ULTRASOUND, Modality="US")
    del dataset.PixelSpacing, dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.SequenceOfUltrasoundRegions = []
    for x, y, units, kind in regions:
        region = Dataset()
        region.PhysicalDeltaX, region.PhysicalDeltaY = x, y
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = units
        region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = kind, 1, 0
        dataset.SequenceOfUltrasoundRegions.append(region)
    return read_image(content_of(dataset)).spacing


def test_ultrasound_takes_its_spacing_from_the_regions_that_show_space():
    assert echo((0.02, 0.03, 3, 1)) == (0.3, 0.2)
    assert echo((0.02, -0.03, 3, 1), (0.5, 0.1, 4, 3)) == (0.3, 0.2)


def test_ultrasound_has_no_spacing_where_its_regions_differ_or_say_nothing():
    assert echo((0.02, 0.03, 3, 1), (0.04, 0.06, 3, 1)) is None
    assert echo((0.02, 0.03, 4, 1)) is None
    assert echo((0, 0, 3, 1)) is None
    assert echo() is None


@pytest.mark.parametrize("top", [255, 65535])
def test_a_palette_of_16_bits_may_be_filled_with_8(top):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset = slice_of(pixels, PhotometricInterpretation="PALETTE COLOR")
    table = np.linspace(0, top, 256).astype("<u2")
    for color in ("Red", "Green", "Blue"):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        dataset[f"{color}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(dataset, f"{color}PaletteColorLookupTableData", table.tobytes())
        dataset[f"{color}PaletteColorLookupTableData"].VR = "OW"
    found = read_image(content_of(dataset)).array
    np.testing.assert_array_equal(found[0], table.reshape(16, 16) >> (0 if top == 255 else 8))


def encoded_j2k(words):
    return imagecodecs.jpeg2k_encode(words, codecformat="j2k", level=0, reversible=True)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (None, None),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEG2000Lossless, encoded_j2k),
        (HTJ2KLossless, imagecodecs.htj2k_encode if hasattr(imagecodecs, "htj2k_encode") else None),
    ],
)
def test_bits_above_those_stored_are_no_part_of_the_numbers(syntax, encode, signed):
    if syntax is not None and encode is None:
        pytest.skip("this imagecodecs writes no HTJ2K")
    rng = np.random.default_rng(1)
    pixels = rng.integers(-2048, 2048, (16, 16)) if signed else rng.integers(0, 4096, (16, 16))
    overlay = rng.integers(0, 2, (16, 16)) << 15
    words = ((pixels & 0x0FFF) | overlay).astype(np.uint16)
    dataset = slice_of(words, BitsStored=12, HighBit=11, PixelRepresentation=int(signed))
    if encode is not None:
        dataset.PixelData = encapsulate([encode(words)])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_image(content_of(dataset)).array[0], pixels)

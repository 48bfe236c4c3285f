import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import (
    ClassInfo,
    Mask,
    encode_image,
    encode_mask,
    encode_objects,
    read_image,
    read_mask,
    write_image,
)
from tests.seg.images.itk.judge import ORIENTATIONS, affine_of, itk_image, name_of

VOLUME = np.random.default_rng(0).integers(-900, 900, (5, 4, 6)).astype(np.int16)
SUFFIXES = (".nrrd", ".mha", ".nii", ".nhdr", ".mhd")


def written(path, image, *, compress=False):
    SimpleITK.WriteImage(image, str(path), compress)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=name_of)
def test_a_volume_lies_where_itk_puts_it_in_every_orientation(tmp_path, suffix, orientation):
    if suffix == ".nii" and np.linalg.det(orientation) < 0:
        pytest.skip("ITK writes no left-handed NIfTI")
    truth = itk_image(VOLUME, orientation)
    image = read_image(written(tmp_path / f"image{suffix}", truth))
    np.testing.assert_array_equal(image.array[0], VOLUME)
    np.testing.assert_allclose(image.affine, affine_of(truth), atol=1e-4)
    np.testing.assert_allclose(image.spacing, (2.5, 0.9, 0.7), rtol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_oblique_volume_lies_where_itk_puts_it(tmp_path, suffix):
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
    truth = itk_image(VOLUME, np.reshape(turn, (3, 3)))
    image = read_image(written(tmp_path / f"image{suffix}", truth))
    np.testing.assert_allclose(image.affine, affine_of(truth), atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_type_is_read_plain_and_compressed(tmp_path, suffix, compress, dtype):
    array = VOLUME.astype(dtype)
    path = written(tmp_path / f"image{suffix}", itk_image(array), compress=compress)
    image = read_image(path)
    np.testing.assert_array_equal(image.array[0], array)
    assert image.array.dtype == dtype


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_vectors_are_channels(tmp_path, suffix):
    array = np.stack([VOLUME, VOLUME + 1, VOLUME + 2], axis=-1)
    path = written(tmp_path / f"image{suffix}", itk_image(array, isVector=True))
    np.testing.assert_array_equal(read_image(path).array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_a_flat_image_is_flat_and_no_volume(tmp_path, suffix):
    path = written(tmp_path / f"image{suffix}", itk_image(VOLUME[0]))
    image = read_image(path)
    assert image.array.shape == (1, 4, 6)
    assert image.spacing == pytest.approx((0.9, 0.7))
    with pytest.raises(ImageError, match="a volume is needed"):
        read_image(path, dims=3)


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_a_volume_is_no_2d_image_but_one_slice_is(tmp_path, suffix):
    path = written(tmp_path / f"image{suffix}", itk_image(VOLUME))
    with pytest.raises(ImageError, match="is a volume of 5 slices; send one slice"):
        read_image(path, dims=2)
    image = read_image(written(path, itk_image(VOLUME[:1])), dims=2)
    assert image.array.shape == (1, 4, 6)
    assert image.spacing == pytest.approx((0.9, 0.7))


def test_labels_are_a_mask(tmp_path):
    labels = (VOLUME > 0).astype(np.uint8)
    path = written(tmp_path / "mask.nrrd", itk_image(labels), compress=True)
    np.testing.assert_array_equal(read_mask(path).array, labels)


def nrrd(*lines, voxels=VOLUME):
    head = ["NRRD0005", "type: int16", "dimension: 3", "sizes: 6 4 5", "encoding: raw"]
    told = {line.partition(":")[0] for line in lines}
    head = [line for line in head if line.partition(":")[0] not in told]
    endian = [] if "endian" in told else ["endian: little"]
    return "\n".join([*head, *endian, *lines, "", ""]).encode() + voxels.tobytes()


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
    ],
)
def test_every_named_space_ends_in_ras(space, signs):
    directions = "space directions: (2,0,0) (0,3,0) (0,0,4)"
    image = read_image(nrrd(f"space: {space}", directions, "space origin: (10,20,30)"))
    np.testing.assert_array_equal(image.affine[:3, :3], np.diag([2, 3, 4]) * signs)
    np.testing.assert_array_equal(image.affine[:3, 3], np.multiply((10, 20, 30), signs))
    assert image.spacing == (4.0, 3.0, 2.0)


def of_series(moments, space):
    """As ITK writes volumes over time, in a space of four dimensions."""
    directions = "space directions: (2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,7)"
    lines = ("dimension: 4", f"sizes: 6 4 5 {moments}", directions, "space origin: (10,20,30,5)")
    return nrrd(*lines, "kinds: domain domain domain domain", *space, voxels=VOLUME)


@pytest.mark.parametrize("name", ["left-posterior-superior-time", "LPST", None])
def test_one_moment_of_a_series_is_a_volume_and_several_are_told(name):
    space = [f"space: {name}"] if name else ["space dimension: 4"]
    image = read_image(of_series(1, space))
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.spacing == (4.0, 3.0, 2.0)
    if name:
        np.testing.assert_array_equal(image.affine[:3, 3], (-10, -20, 30))
    with pytest.raises(UnsupportedImageError, match="one moment is needed, the NRRD file holds 2"):
        read_image(of_series(2, space))


def test_an_nrrd_without_a_named_space_has_a_spacing_only():
    directions = "space directions: (2,0,0) (0,3,0) (0,0,4)"
    image = read_image(nrrd("space dimension: 3", directions, "space origin: (10,20,30)"))
    assert image.affine is None
    assert image.spacing == (4.0, 3.0, 2.0)
    assert read_image(nrrd("spacings: 1 2 3")).spacing == (3.0, 2.0, 1.0)
    assert read_image(nrrd()).spacing is None


def test_units_of_an_nrrd_become_mm():
    image = read_image(
        nrrd(
            "space dimension: 3",
            "space directions: (2,0,0) (0,3,0) (0,0,4)",
            'space units: "um" "um" "um"',
        )
    )
    assert image.spacing == pytest.approx((4e-3, 3e-3, 2e-3))


def test_a_list_before_or_behind_the_space_holds_channels():
    first = read_image(nrrd("dimension: 3", "kinds: list domain domain", voxels=VOLUME))
    np.testing.assert_array_equal(first.array, np.moveaxis(VOLUME, -1, 0))
    last = read_image(nrrd("dimension: 3", "kinds: domain domain list", voxels=VOLUME))
    np.testing.assert_array_equal(last.array, VOLUME)


def test_big_endian_is_read():
    content = nrrd("endian: big", voxels=VOLUME.astype(">i2"))
    np.testing.assert_array_equal(read_image(content).array[0], VOLUME)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            nrrd("sizes: 6 4 50"),
            ImageError,
            "announces 2,400 bytes of voxels and the file holds 240",
        ),
        (nrrd("sizes: 60000 60000 5000"), ImageTooLargeError, "at most"),
        (nrrd("sizes: 6 0 5"), ImageError, "whole numbers above 0"),
        (nrrd("sizes: 6 4"), ImageError, "sizes must be 3 finite numbers"),
        (
            nrrd("type: block"),
            UnsupportedImageError,
            "whole or real numbers is needed, got type block",
        ),
        (nrrd("endian: none"), ImageError, "endian: little or big"),
        (nrrd("encoding: ascii"), UnsupportedImageError, "raw and gzip are read, got ascii"),
        (nrrd("kinds: domain domain time"), UnsupportedImageError, "one moment is needed"),
        (nrrd("kinds: list list domain"), UnsupportedImageError, "2 or 3 spatial axes"),
        (
            nrrd(
                "space directions: (1,0,0) (2,0,0) (0,0,1)", "space: RAS", "space origin: (0,0,0)"
            ),
            ImageError,
            "span no volume",
        ),
        (nrrd("space directions: (1,0,0) (nan,0,0) (0,0,1)", "space: RAS"), ImageError, "finite"),
        (nrrd("data file: other.raw"), UnsupportedImageError, "names a second file that holds"),
        (nrrd("encoding: gzip"), ImageError, "compressed voxels are damaged"),
        (b"NRRD0004\n", ImageError, "the NRRD header lacks type"),
    ],
)
def test_bad_nrrd_headers_are_refused(content, error, words):
    with pytest.raises(error, match=words):
        read_image(content)


def mha(*lines, voxels=VOLUME):
    head = ["ObjectType = Image", "NDims = 3", "DimSize = 6 4 5", "ElementType = MET_SHORT"]
    told = {line.split(" ")[0] for line in lines}
    head = [line for line in head if line.split(" ")[0] not in told]
    end = [] if "ElementDataFile" in told else ["ElementDataFile = LOCAL"]
    return "\n".join([*head, *lines, *end, ""]).encode() + voxels.tobytes()


def test_a_metaimage_that_does_not_say_where_it_lies_has_a_spacing_only():
    image = read_image(mha("ElementSpacing = 1 2 3"))
    assert (image.spacing, image.affine) == ((3.0, 2.0, 1.0), None)
    assert read_image(mha()).spacing is None


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (mha("DimSize = 6 4 50"), ImageError, "announces 2,400 bytes of voxels"),
        (mha("DimSize = 60000 60000 5000"), ImageTooLargeError, "at most"),
        (mha("DimSize = 6 -4 5"), ImageError, "whole numbers above 0"),
        (mha("NDims = 99"), UnsupportedImageError, "2 to 4 axes is needed, got 99"),
        (mha("ElementType = MET_STRING"), UnsupportedImageError, "got MET_STRING"),
        (mha("ElementSpacing = 1 0 3"), ImageError, "must not be 0"),
        (mha("ElementSpacing = 1 1 1", "Offset = nan 0 0"), ImageError, "Offset must be 3 finite"),
        (
            mha("ElementSpacing = 1 1 1", "TransformMatrix = 1 0 0 1 0 0 0 0 1"),
            ImageError,
            "span no",
        ),
        (mha("CompressedData = True"), ImageError, "compressed voxels are damaged"),
        (mha("ElementDataFile = a.raw"), UnsupportedImageError, "send both in one"),
        (mha("ElementDataFile = LIST\na.raw"), UnsupportedImageError, "send both in one"),
        (b"ObjectType = Image\nNDims = 3\n", ImageError, "header lacks DimSize"),
    ],
)
def test_bad_metaimage_headers_are_refused(content, error, words):
    with pytest.raises(error, match=words):
        read_image(content)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "C:\\secret", "..", ""])
def test_a_header_may_not_name_files_elsewhere(tmp_path, name):
    (tmp_path / "secret").write_bytes(VOLUME.tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "a.mhd").write_bytes(mha(f"ElementDataFile = {name}", voxels=VOLUME[:0]))
    (folder / "a.nhdr").write_bytes(nrrd(f"data file: {name}", voxels=VOLUME[:0]))
    for suffix in (".mhd", ".nhdr"):
        with pytest.raises(ImageError, match=r"a file beside it|is not beside it"):
            read_image(folder / f"a{suffix}")


def test_voxels_begin_where_a_long_header_ends():
    segments = "".join(f"Segment{n}_Name:=cell {n}\n" for n in range(5000))
    note = f"note:={'x' * (2**16 - 6)}\n"
    for text in (segments, note):
        head = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\n{text}\n"
        read = read_image(head.encode() + bytes(range(6))).array
        np.testing.assert_array_equal(read, np.arange(6).reshape(1, 2, 3))
    with pytest.raises(ImageError, match="header is longer"):
        read_image(b"NRRD0004\n" + b"x" * 2**21)


def test_a_compressed_bomb_is_inflated_no_further_than_announced():
    bomb = np.frombuffer(gzip.compress(bytes(10**7)), np.uint8)
    image = read_image(nrrd("encoding: gzip", voxels=bomb))
    assert not image.array.any()


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_a_unit_is_kept_in_what_is_written(tmp_path, ending):
    read = read_image(
        nrrd(
            "space: left-posterior-superior",
            "space directions: (2,0,0) (0,3,0) (0,0,4)",
            'space units: "um" "um" "um"',
            "space origin: (5,6,7)",
        )
    )
    write_image(tmp_path / f"again.{ending}", read)
    header = (tmp_path / f"again.{ending}").read_bytes()[:900]
    assert (b'space units: "um" "um" "um"' if ending == "nrrd" else b"DistanceUnits = um") in header
    again = read_image(tmp_path / f"again.{ending}")
    np.testing.assert_allclose(again.affine, read.affine, rtol=1e-12)
    assert again.unit == "um"
    mask = Mask.on_grid_of(read, np.zeros(read.spatial_shape, np.uint8))
    content = encode_mask(mask, "nrrd", (ClassInfo(index=0, name="a", color=(0, 0, 0)),), read)
    assert b"space directions: (2.0,0.0,0.0)" in content[:900]
    assert b"space directions: (2.0,0.0,0.0)" in encode_objects(mask, "a.nrrd")[:900]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".seg.nrrd"])
def test_what_is_written_of_nifti_in_micrometres_lies_on_it_in_itk(ending, tmp_path):
    nifti = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([5.0, 7, 20, 1]))
    nifti.header.set_xyzt_units("micron")
    nibabel.save(nifti, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    mask = Mask.on_grid_of(image, np.zeros(image.spatial_shape, np.uint8))
    (tmp_path / f"b{ending}").write_bytes(
        encode_mask(mask, "nrrd", (ClassInfo(index=0, name="a", color=(0, 0, 0)),), image)
        if ending == ".seg.nrrd"
        else encode_image(image, f"b{ending}")
    )
    ours, theirs = (SimpleITK.ReadImage(tmp_path / name) for name in (f"b{ending}", "a.nii"))
    np.testing.assert_allclose(ours.GetSpacing(), theirs.GetSpacing(), rtol=1e-6)

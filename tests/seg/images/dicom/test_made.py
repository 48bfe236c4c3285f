"""What DICOM objects say of who made them, and of headers that are a little off."""

import io
import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg.images import ClassInfo, Code, MadeBy, Mask, encode_mask, read_image, read_mask
from seg.images.dicom.made import series_number
from seg.images.dicom.text import cleaned
from seg.images.grid.codes import type_of
from tests.seg.images.dicom.files import content_of, slice_of
from tests.seg.images.dicom.sources import FRAME, affine_of, image_of, labels_of, multiframe_of
from tests.seg.images.dicom.test_planes import dose, spect

OBJECTS = ("dicom-seg", "dicom-labelmap", "rtstruct")
MODEL = MadeBy(model="kidneys", version="3", sha256="ab" * 32, variant="fast", precision="int8")


def classes_of(*names, **more):
    return [
        ClassInfo(index=i, name=name, color=(i, 9, 9), **(more if i else {}))
        for i, name in enumerate(("background", *names))
    ]


def written(image, format, classes, made_by=MODEL):
    mask = Mask.on_grid_of(image, labels_of(image, top=len(classes)))
    return pydicom.dcmread(io.BytesIO(encode_mask(mask, format, classes, image, made_by)))


@pytest.fixture
def image(tmp_path):
    return image_of(tmp_path / "series", np.eye(3), SeriesNumber=3)


@pytest.mark.parametrize("format", OBJECTS)
def test_an_object_names_the_model_its_version_and_its_hash(image, format):
    found = written(image, format, classes_of("kidney"))
    assert found.SeriesDescription == "Segmentation by kidneys 3"
    if format == "rtstruct":
        (algorithm,) = found.StructureSetROISequence[0].ROIDerivationAlgorithmIdentificationSequence
    else:
        (segment,) = [each for each in found.SegmentSequence if each.SegmentNumber]
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert segment.SegmentAlgorithmName == "kidneys"
        assert "kidney" in segment.TrackingID
        assert segment.TrackingUID.is_valid
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("kidneys", "3")
    assert MODEL.sha256 in algorithm.AlgorithmParameters
    assert "variant fast; precision int8" in algorithm.AlgorithmParameters


def test_a_class_is_tracked_by_the_same_number_whenever_one_model_finds_it(image):
    def tracked(made_by):
        return written(image, "dicom-seg", classes_of("kidney"), made_by).SegmentSequence[0]

    other = MadeBy(model="kidneys", version="4", sha256="cd" * 32)
    assert tracked(MODEL).TrackingUID == tracked(MODEL).TrackingUID
    assert tracked(MODEL).TrackingUID != tracked(other).TrackingUID


@given(st.text(), st.sets(st.integers(10_000, 99_999)))
def test_a_new_series_has_a_number_that_none_of_the_images_has(uid, taken):
    number = series_number(uid, taken)
    assert number not in taken
    assert 10_000 <= number < 100_000


@given(st.text(min_size=1), st.text(min_size=1))
def test_one_private_code_is_never_two_anatomies(first, second):
    codes = [type_of(ClassInfo(index=1, name=name, color=(0, 0, 0))) for name in (first, second)]
    if codes[0].value == codes[1].value:
        assert codes[0].meaning.casefold() == codes[1].meaning.casefold()
    assert all(code.scheme == "99SEG" for code in codes)


@pytest.mark.parametrize("format", OBJECTS)
def test_codes_of_a_class_stand_in_its_object(image, format):
    kidney = {
        "category": Code(value="49755003", meaning="Morphologically Abnormal Structure"),
        "type": Code(value="64033007", meaning="Kidney"),
        "laterality": Code(value="7771000", meaning="Left"),
    }
    found = written(image, format, classes_of("left kidney", **kidney))
    if format == "rtstruct":
        (entry,) = found.RTROIObservationsSequence
        (code,) = entry.RTROIIdentificationCodeSequence
    else:
        (entry,) = [each for each in found.SegmentSequence if each.SegmentNumber]
        (code,) = entry.SegmentedPropertyTypeCodeSequence
    assert entry.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("64033007", "SCT")
    assert code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


@pytest.mark.parametrize("format", OBJECTS)
@pytest.mark.parametrize("zone", [None, "+1300", "-0330", "nonsense"])
def test_all_clocks_of_an_object_are_one(tmp_path, format, zone):
    stated = {} if zone is None else {"TimezoneOffsetFromUTC": zone}
    found = written(
        image_of(tmp_path / "series", np.eye(3), **stated), format, classes_of("kidney")
    )
    offset = found.TimezoneOffsetFromUTC
    if zone in ("+1300", "-0330"):
        assert offset == zone
    sign = -1 if offset[0] == "-" else 1
    clock = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:])))
    kinds = ("InstanceCreation", "Series", "StructureSet" if format == "rtstruct" else "Content")
    for kind in kinds:
        text = found[f"{kind}Date"].value + str(found[f"{kind}Time"].value)
        stamp = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=clock)
        assert abs(stamp - datetime.now(UTC)) < timedelta(minutes=5)


HEADERS = {
    "japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    },
    "latin": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    "cyrillic": {"SpecificCharacterSet": "ISO_IR 144", "PatientName": "Иванов^Иван"},
    "misspelt": {"SpecificCharacterSet": "ISO IR 100", "PatientName": "Test^One"},
    "empty": {"SpecificCharacterSet": "", "PatientName": "Test^One"},
    "clock": {"StudyTime": "10:10:10", "PatientName": "Test^One"},
    "no clock": {"StudyTime": "noon", "PatientName": "Test^One"},
    "age": {"PatientAge": "old", "PatientName": "Test^One"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", OBJECTS)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_a_little_off_are_put_right(tmp_path, format, header):
    classes = classes_of("肝臓", "печень", "Läsion")
    with pydicom.config.disable_value_validation():
        image = image_of(tmp_path / "series", np.eye(3), **header)
        found = written(image, format, classes)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert str(found.PatientName) == header["PatientName"]
    assert found.StudyTime == ("101010" if header.get("StudyTime") == "10:10:10" else "")
    assert "PatientAge" not in found
    names = (
        [each.ROIName for each in found.StructureSetROISequence]
        if format == "rtstruct"
        else [each.SegmentLabel for each in found.SegmentSequence if each.SegmentNumber]
    )
    assert names == ["肝臓", "печень", "Läsion"]


@pytest.mark.parametrize("format", OBJECTS)
def test_no_class_name_is_cut_at_a_backslash_or_lost_where_it_is_long(image, format):
    found = written(image, format, classes_of("a\\b", "x" * 100))
    if format == "rtstruct":
        names = [each.ROIName for each in found.StructureSetROISequence]
    else:
        segments = [each for each in found.SegmentSequence if each.SegmentNumber]
        names = [each.SegmentLabel for each in segments]
        assert segments[1].SegmentDescription.startswith("x" * 100 + "; ")
    assert names == ["a\N{FULLWIDTH REVERSE SOLIDUS}b", "x" * 63 + "\N{HORIZONTAL ELLIPSIS}"]


def test_directions_that_a_scanner_rounds_are_one_direction(tmp_path):
    image = image_of(tmp_path / "series", np.eye(3))
    image.headers[1].ImageOrientationPatient = [1, 1e-5, 0, 0, 1, 0]
    found = written(image, "dicom-seg", classes_of("kidney"))
    assert found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


@pytest.mark.parametrize("format", OBJECTS)
@pytest.mark.parametrize("content", [spect(**FRAME), dose(0, -50)], ids=["spect", "dose"])
def test_frames_without_functional_groups_are_referred_to_one_by_one(format, content):
    image = read_image(content)
    header = image.headers[0]
    header.FrameOfReferenceUID = FRAME["FrameOfReferenceUID"]
    found = written(image, format, classes_of("lesion"))
    if format == "rtstruct":
        contours = found.ROIContourSequence[0].ContourSequence
        sources = [each.ContourImageSequence[0] for each in contours]
    else:
        groups = found.PerFrameFunctionalGroupsSequence
        sources = [each.DerivationImageSequence[0].SourceImageSequence[0] for each in groups]
    assert {each.ReferencedSOPClassUID for each in sources} == {header.SOPClassUID}
    assert {each.ReferencedSOPInstanceUID for each in sources} == {header.SOPInstanceUID}
    assert {each.ReferencedFrameNumber for each in sources} == {1, 2, 3, 4, 5}


def test_a_label_map_holds_the_same_labels_in_a_fraction_of_the_size(tmp_path):
    image = image_of(tmp_path / "series", np.eye(3))
    classes = classes_of(*(f"organ {i}" for i in range(1, 31)))
    labels = labels_of(image, top=31)
    labels[2] = 0
    content = encode_mask(Mask.on_grid_of(image, labels), "dicom-labelmap", classes, image)
    found = pydicom.dcmread(io.BytesIO(content))
    assert found.SegmentationType == "LABELMAP"
    assert found.pixel_array.shape == (4, 6, 7)
    (tmp_path / "labels.dcm").write_bytes(content)
    np.testing.assert_array_equal(read_mask(tmp_path / "labels.dcm", dims=3).array, labels)


def test_a_refusal_names_the_attribute_that_is_missing():
    whole = multiframe_of(affine_of(np.eye(3), (0.7, 0.9, 2.5)), order=[0, 1, 2])
    del whole.PerFrameFunctionalGroupsSequence, whole.SharedFunctionalGroupsSequence
    image = read_image(content_of(whole))
    with pytest.raises(Exception, match="ImagePositionPatient, ImageOrientationPatient"):
        written(image, "dicom-seg", classes_of("kidney"))


@given(st.text(), st.sampled_from(["StudyDate", "StudyTime", "PatientAge", "PatientWeight"]))
def test_whatever_a_header_holds_what_is_written_is_valid(text, name):
    dataset = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        element = pydicom.DataElement(name, pydicom.datadict.dictionary_VR(name), "")
        element._value = text
        dataset.add(element)
    clean = cleaned(dataset, name)
    pydicom.DataElement(
        name, element.VR, clean, validation_mode=pydicom.config.RAISE
    )  # or this raises


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy here: make pacs")
@pytest.mark.parametrize("format", ["dicom-seg", "rtstruct"])
@pytest.mark.parametrize("kind", ["series", "dose", "x-ray"])
def test_dciodvfy_finds_no_error(tmp_path, image, format, kind):
    if kind == "dose":
        image = read_image(dose(0, -50))
        image.headers[0].FrameOfReferenceUID = FRAME["FrameOfReferenceUID"]
    elif kind == "x-ray":
        if format == "rtstruct":
            pytest.skip("an X-ray lies nowhere in the patient")
        flat = slice_of(np.zeros((6, 7), np.uint16))
        del flat.ImagePositionPatient, flat.ImageOrientationPatient, flat.PixelSpacing
        image = read_image(content_of(flat))
    left = {"laterality": Code(value="7771000", meaning="Left")}
    mask = Mask.on_grid_of(image, labels_of(image, top=3))
    file = tmp_path / "object.dcm"
    file.write_bytes(encode_mask(mask, format, classes_of("a", "b", **left), image, MODEL))
    said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    errors = [line for line in said.stderr.splitlines() if line.startswith("Error")]
    assert not errors

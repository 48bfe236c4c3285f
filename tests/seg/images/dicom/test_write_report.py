"""Reports and overviews: what highdicom reads in them, and what dciodvfy finds."""

import io
import shutil
import subprocess
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest

from seg.errors import ImageError, UnsupportedImageError
from seg.images import ClassInfo, Code, Image, MadeBy, Mask, encode_mask
from tests.seg.images.dicom.sources import image_of, labels_of

KIDNEY = ClassInfo(
    index=1,
    name="left kidney",
    color=(200, 100, 0),
    type=Code(value="64033007", meaning="Kidney"),
    laterality=Code(value="7771000", meaning="Left"),
)
TUMOUR = ClassInfo(index=2, name="tumour", color=(0, 0, 255))
CLASSES = (ClassInfo(index=0, name="background", color=(0, 0, 0)), KIDNEY, TUMOUR)
MODEL = MadeBy(
    model="kidneys",
    version="3",
    sha256="ab" * 32,
    run="one",
    beside=("dicom-seg", "dicom-sr"),
    predicted_dice={"left kidney": 0.91},
    expected_error={"left kidney": 0.03},
    warnings=("noisier than the images of the training",),
)


@pytest.fixture
def image(tmp_path):
    return image_of(tmp_path / "series", np.eye(3))


def content_for(image, format, made_by=MODEL):
    return encode_mask(
        Mask.on_grid_of(image, labels_of(image, top=2)), format, CLASSES, image, made_by
    )


def read(content):
    return pydicom.dcmread(io.BytesIO(content))


def groups_of(content):
    report = highdicom.sr.srread(io.BytesIO(content))
    return report.content.get_volumetric_roi_measurement_groups()


def test_highdicom_reads_volume_attenuation_and_predicted_dice(image):
    labels = labels_of(image, top=2)
    kidney, tumour = groups_of(content_for(image, "dicom-sr"))
    values = {
        each.name.meaning: (each.value, each.unit.value) for each in kidney.get_measurements()
    }
    voxel_ml = Mask.on_grid_of(image, labels).voxel_extent / 1000
    assert values["Volume"] == (pytest.approx((labels == 1).sum() * voxel_ml), "ml")
    mean, unit = values["Attenuation Coefficient"]
    assert mean == pytest.approx(float(image.array[0][labels == 1].mean()))
    assert unit == "[hnsf'U]"
    assert values["Dice coefficient predicted by the model"] == (0.91, "1")
    assert kidney.finding_type == pydicom.sr.coding.Code("64033007", "SCT", "Kidney")
    assert kidney.finding_sites[0].laterality.value == "7771000"
    assert "Dice coefficient predicted by the model" not in {
        each.name.meaning for each in tumour.get_measurements()
    }
    assert tumour.finding_type.scheme_designator == "99SEG"


def test_a_report_refers_to_the_segments_that_are_written_beside_it(image):
    segmentation = read(content_for(image, "dicom-seg"))
    groups = groups_of(content_for(image, "dicom-sr"))
    for number, group in enumerate(groups, start=1):
        referred = group.referenced_segment
        assert referred.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segmentation.SegmentSequence[number - 1].TrackingUID == group.tracking_uid
    evidence = str(read(content_for(image, "dicom-sr")).CurrentRequestedProcedureEvidenceSequence)
    assert segmentation.SOPInstanceUID in evidence
    assert segmentation.SeriesInstanceUID in evidence


def test_a_report_that_stands_alone_refers_to_the_images(image):
    content = content_for(image, "dicom-sr", replace(MODEL, beside=("dicom-sr",)))
    assert groups_of(content) == []
    report = highdicom.sr.srread(io.BytesIO(content))
    assert len(report.content.get_image_measurement_groups()) == 2
    assert image.headers[0].SOPInstanceUID in str(read(content).ContentSequence)


def test_objects_of_another_run_have_other_names(image):
    for format in ("dicom-seg", "dicom-sr", "dicom-sc"):
        same, other = replace(MODEL), replace(MODEL, run="two")
        uids = [
            read(content_for(image, format, run)).SOPInstanceUID for run in (same, MODEL, other)
        ]
        assert uids[0] == uids[1] != uids[2]


def test_limits_stand_in_segments_and_reports(image):
    segment = read(content_for(image, "dicom-seg")).SegmentSequence[0]
    for said in (segment.SegmentDescription, read(content_for(image, "dicom-sr")).to_json()):
        assert "research use only" in said
        assert "predicted Dice 0.91 (usual error 0.03)" in said
        assert "noisier than the images of the training" in said


@pytest.mark.parametrize("format", ["dicom-seg", "dicom-sr", "dicom-sc", "rtstruct"])
def test_a_draft_says_so_in_the_name_of_its_series(image, format):
    drafted, usual = (
        read(content_for(image, format, replace(MODEL, is_draft=each))) for each in (True, False)
    )
    assert drafted.SeriesDescription.startswith("DRAFT: ")
    assert not usual.SeriesDescription.startswith("DRAFT")
    if format == "dicom-sr":
        assert (drafted.CompletionFlag, usual.CompletionFlag) == ("PARTIAL", "COMPLETE")


@pytest.mark.parametrize("format", ["dicom-seg", "dicom-sr", "dicom-sc"])
@pytest.mark.parametrize("beside", [("dicom-seg", "dicom-sr"), ()])
def test_dciodvfy_finds_no_error(image, tmp_path, format, beside):
    if not shutil.which("dciodvfy"):
        pytest.skip("no dciodvfy here: make pacs")
    path = tmp_path / "object.dcm"
    path.write_bytes(content_for(image, format, replace(MODEL, beside=beside)))
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr


def test_images_that_cannot_be_referred_to_are_refused(image):
    bare = Image(image.array, spacing=image.spacing, affine=image.affine)
    for format in ("dicom-sr", "dicom-sc"):
        with pytest.raises(ImageError, match="did not come from DICOM"):
            content_for(bare, format)
    mask = Mask(labels_of(image, top=2))
    with pytest.raises(UnsupportedImageError, match="size of voxels"):
        encode_mask(mask, "dicom-sr", CLASSES, replace(image, spacing=None, affine=None), MODEL)

"""A CT series in DICOM, a file a slice, as a scanner writes it."""

from pathlib import Path

import numpy as np
from jaxtyping import Int16
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_series(
    folder: Path, volume: Int16[np.ndarray, "z y x"], spacing: tuple[float, float, float]
) -> None:
    """Write a series into a new folder, its files in no order.

    Args:
        folder: is made.
        volume: Hounsfield units; slices go up, rows to the back, columns to the left.
        spacing: mm along (z, y, x).
    """
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    for number, plane in enumerate(volume):
        dataset = _slice_of(plane, number, spacing)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame
        file = folder / f"{number * 7919 % 1000:03}.dcm"
        dcmwrite(file, dataset, enforce_file_format=True)


def _slice_of(
    plane: Int16[np.ndarray, "y x"], number: int, spacing: tuple[float, float, float]
) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.PatientName, dataset.PatientID = "Phantom", "7"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, number + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient = [0.0, 0.0, number * spacing[0]]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.SliceThickness, dataset.PixelSpacing = spacing[0], list(spacing[1:])
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.PixelData = plane.astype("<i2").tobytes()
    return dataset

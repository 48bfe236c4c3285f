"""DICOM files drawn by pydicom, for tests."""

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = generate_uid()
AXIAL = (1.0, 0, 0, 0, 1, 0)


def slice_of(pixels, position=(0.0, 0, 0), *, orientation=AXIAL, spacing=(1.0, 1.0), **attributes):
    """A CT slice as a Dataset: (y, x) or (y, x, 3) of any whole type."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = SERIES
    dataset.StudyInstanceUID = SERIES
    dataset.Modality = "CT"
    dataset.RescaleIntercept = 0
    dataset.ImagePositionPatient = [round(float(mm), 6) for mm in position]
    dataset.ImageOrientationPatient = list(orientation)
    dataset.PixelSpacing = list(spacing)
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def content_of(dataset):
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def series_of(volume, affine, **attributes):
    """Slices of a volume (z, y, x) on an affine from (x, y, z) to LPS."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    orientation = (affine[:3, :2] / sizes[:2]).T.ravel().tolist()
    return [
        slice_of(
            plane,
            affine[:3, 3] + z * affine[:3, 2],
            orientation=[round(number, 9) for number in orientation],
            spacing=(sizes[1], sizes[0]),
            **attributes,
        )
        for z, plane in enumerate(volume)
    ]


def write_series(folder, datasets):
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        (folder / f"{number * 7919 % 1000:03}.dcm").write_bytes(content_of(dataset))
    return folder

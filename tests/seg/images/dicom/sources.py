"""Images that were read from DICOM, for tests of what refers to them."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from seg.images import read_image
from tests.seg.images.dicom.files import series_of, slice_of, write_series

FRAME = {"FrameOfReferenceUID": generate_uid()}
SHAPE = (5, 6, 7)
RAS = np.diag([-1.0, -1, 1, 1])
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])


def affine_of(turn, spacing):
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (-31.0, 12.5, 100.25)
    return affine


def image_of(folder, turn, spacing=(0.7, 0.9, 2.5), **attributes):
    volume = np.zeros(SHAPE, np.int16)
    datasets = series_of(volume, affine_of(turn, spacing), **{**FRAME, **attributes})
    return read_image(write_series(folder, datasets))


def labels_of(image, seed=0, top=3):
    return np.random.default_rng(seed).integers(0, top, image.spatial_shape).astype(np.uint8)


def multiframe_of(affine, order):
    """An enhanced CT: one file, its frames in any order."""
    slices = series_of(np.zeros((len(order), 6, 7), np.int16), affine, **FRAME)
    whole = slice_of(np.zeros((len(order) * 6, 7), np.int16), **FRAME)
    whole.SOPClassUID = EnhancedCTImageStorage
    whole.Rows, whole.NumberOfFrames = 6, len(order)
    del whole.ImagePositionPatient, whole.ImageOrientationPatient, whole.PixelSpacing
    groups = []
    for z in order:
        groups.append(Dataset())
        position = groups[-1].PlanePositionSequence = [Dataset()]
        position[0].ImagePositionPatient = slices[z].ImagePositionPatient
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = groups
    return whole

"""DICOM: series and their geometry in, segmentations and structure sets in and out."""

"""The pixels of DICOM files: how they lie, how they are scaled, and how they are decoded."""

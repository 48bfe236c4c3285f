"""DICOM's own protocol (DIMSE): C-ECHO and C-STORE, from a modality or a PACS."""

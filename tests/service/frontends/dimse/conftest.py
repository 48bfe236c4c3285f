"""Tests of DICOM's own protocol."""

import pytest

pytest.importorskip("pynetdicom", reason="no pynetdicom here: pip install pynetdicom")

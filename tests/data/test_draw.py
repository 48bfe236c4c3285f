"""Files to try a tutorial with."""

import numpy as np
import pytest

from data import tutorial_files
from data.draw import KINDS, main
from seg.images import read_image


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of each kind."""
    folder = tmp_path_factory.mktemp("drawn")
    for kind in KINDS:
        assert main([kind, str(folder / kind)]) == 0
    return folder


def test_nothing_is_left_beside_what_was_drawn(drawn):
    for kind in KINDS:
        assert all(not each.name.startswith(".") for each in (drawn / kind).iterdir())


def test_pictures_have_masks_and_new_ones_have_none(drawn):
    images, masks = (
        sorted(each.name for each in (drawn / "cells" / "cells" / name).iterdir())
        for name in ("images", "masks")
    )
    assert images == masks
    assert len(images) == 10
    assert "nucleus" in (drawn / "cells" / "cells" / "dataset.yaml").read_text()
    new = sorted(each.name for each in (drawn / "cells" / "new").iterdir())
    assert new == ["well10.png", "well11.png"]


def test_a_series_is_a_volume_in_hounsfield_units_with_its_spacing(drawn):
    image = read_image(drawn / "dicom" / "series")
    assert image.spacing == (3.0, 1.0, 1.0)
    assert image.array.shape == (1, 12, 64, 64)
    assert (image.array.min(), image.array.max()) == (-1000, 200)


def test_two_channels_come_together_and_apart(drawn):
    both = read_image(drawn / "brain" / "scan.nii.gz").array
    apart = [read_image(drawn / "brain" / f"{name}.nii.gz").array for name in ("t1", "flair")]
    assert np.array_equal(both, np.concatenate(apart))


def test_what_is_there_is_kept(tmp_path, caplog):
    (tmp_path / "new").mkdir()
    assert main(["cells", str(tmp_path)]) == 2
    assert "exists; move it away or name another folder" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_an_unknown_kind_is_named_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["kidney"])
    assert "cells" in capsys.readouterr().err


def test_help_names_what_can_be_drawn():
    assert list(KINDS) == list(tutorial_files.KINDS)

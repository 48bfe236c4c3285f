import pytest

from seg.files import replace_file


def test_a_file_is_replaced_and_readable_by_others(tmp_path):
    path = tmp_path / "folder" / "a.bin"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    replace_file(path, b"one")

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        replace_file(path, b"two")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"one"]

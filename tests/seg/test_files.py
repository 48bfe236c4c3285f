import pytest

from seg.files import remove_unfinished, replace_file, written_whole


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


def test_what_a_killed_process_left_of_a_folder_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".cache.notes").write_text("mine")
    (tmp_path / ".other.abc").mkdir()
    with written_whole(tmp_path / "cache") as left:  # as long as it is not killed it is at work
        (left / "half").write_text("x")
        remove_unfinished(tmp_path / "cache")
        assert not left.exists()
        left.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {".cache.notes", ".other.abc", "cache"}

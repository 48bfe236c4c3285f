import os

import pytest

from seg.files import (
    STALE_S,
    remove_stale_parts,
    remove_unfinished,
    replace_file,
    replaced_file,
    written_whole,
)
from seg.held_folders import new_folder


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
    others = {".other.abcdefgh", ".cache.backup-of-mine"}
    for name in others:
        (tmp_path / name).mkdir()
    with written_whole(tmp_path / "cache") as left:  # as long as it is not killed it is at work
        (left / "half").write_text("x")
        remove_unfinished(tmp_path / "cache")
        assert not left.exists()
        left.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {".cache.notes", "cache", *others}


def test_what_a_killed_process_left_of_a_file_is_removed_when_nobody_writes_it_any_more(tmp_path):
    mine = {".DS_Store", ".sync.ffs_lock", ".a.tif.notes", "a.tif.abcdefgh"}
    for name in mine:
        (tmp_path / name).write_text("mine")

    def make_old():
        for path in tmp_path.iterdir():
            os.utime(path, (0, path.stat().st_mtime - STALE_S - 1))

    left = tmp_path / ".b.tif.abcdefg1"
    left.write_bytes(b"half")
    with replaced_file(tmp_path / "a.nii.gz") as part:
        make_old()
        part.write_bytes(b"at work")
        remove_stale_parts(tmp_path)
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == mine | {"a.nii.gz"}


def test_a_new_folder_begins_without_what_a_killed_process_left_of_it(tmp_path):
    (tmp_path / ".out.abcdefgh").mkdir()
    (tmp_path / ".out.abcdefgh" / "half").write_text("x")
    with new_folder(tmp_path / "out"):
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    assert not any(tmp_path.iterdir())

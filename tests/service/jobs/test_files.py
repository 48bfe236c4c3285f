"""Files of jobs in folders and object stores."""

import io
import os
import tempfile

import pytest

from service.jobs.files import RESULT, FilesUnavailableError, JobFiles

BUCKET = "seg-test"


@pytest.fixture(scope="module")
def s3():
    """The URL of a bucket on a listening S3 server, where moto and s3fs are installed."""
    pytest.importorskip("s3fs", reason="no s3fs here: pip install -c constraints.txt s3fs")
    server_module = pytest.importorskip("moto.server", reason="no moto here")
    import boto3

    server = server_module.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/jobs"
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def files(request, tmp_path):
    if request.param == "s3":
        return JobFiles(request.getfixturevalue("s3"))
    return JobFiles(str(tmp_path / "jobs") if request.param == "folder" else "memory://jobs")


def test_a_file_comes_out_as_it_went_in_and_goes_with_its_job(files):
    content = os.urandom(3 << 20)
    files.put("one", "image-0-0", io.BytesIO(content))
    files.put("two", "image-0-0", io.BytesIO(b"other"))
    assert files.read("one", "image-0-0") == content
    assert files.size("one", "image-0-0") == len(content)
    with files.open("one", "image-0-0") as file:
        assert file.read(5) == content[:5]
    files.delete("one")
    files.delete("one")
    with pytest.raises(FileNotFoundError):
        files.open("one", "image-0-0")
    assert files.read("two", "image-0-0") == b"other"


@pytest.mark.parametrize("files", ["memory", "s3"], indirect=True)
def test_what_goes_to_a_store_leaves_no_file_of_a_process_that_is_killed(
    files, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with files.writing("whole", RESULT) as target:
        target.write(b"x" * 100_000)
        assert not list(tmp_path.iterdir())
    assert files.read("whole", RESULT) == b"x" * 100_000


def test_a_result_that_was_not_finished_is_not_there(files):
    def die_while_writing():
        with files.writing("half", RESULT) as target:
            target.write(os.urandom(6 << 20))  # more than a part of an upload to S3
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die_while_writing()
    with pytest.raises(FileNotFoundError):
        files.size("half", RESULT)


def test_a_store_that_fails_is_told_from_a_file_that_is_not_there(tmp_path):
    (tmp_path / "jobs").mkdir()
    files = JobFiles(str(tmp_path / "jobs"))
    (tmp_path / "jobs" / "blocked").write_bytes(b"no folder")
    with pytest.raises(FilesUnavailableError):
        files.put("blocked", "image-0-0", io.BytesIO(b"x"))

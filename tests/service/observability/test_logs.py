"""What the log may say of an error."""

import json
import logging
from pathlib import Path

import pytest

from service.observability.folders import without_folders
from service.observability.logs import JsonLines, where_it_failed


def test_an_error_is_told_by_its_type_and_place_and_never_by_its_words():
    def broken():
        raise ValueError("Mueller^Hans, 19700101")

    try:
        broken()
    except ValueError as error:
        told = where_it_failed(error)
    assert told["error"] == "ValueError"
    assert "broken" in str(told["frames"])
    assert "Mueller" not in str(told)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Load model from /tmp/Mueller/network.onnx failed", "Load model from network.onnx failed"),
        ("'/srv/Dr Mueller/a b.onnx' is gone", "'a b.onnx' is gone"),
        ('no file "/usr/lib/Mueller"', 'no file "Mueller"'),
        (r"C:\Users\Mueller\network.onnx: damaged", "network.onnx: damaged"),
        ("~/Mueller/x.nii, /home/Mueller/y.nii", "x.nii, y.nii"),
        ("(/home/Mueller/)", "(a folder)"),
        ("node '/stages.0/conv1/Conv' failed", "node '/stages.0/conv1/Conv' failed"),
        ("https://issuer.example/tmp/keys says 404", "https://issuer.example/tmp/keys says 404"),
        ("src/core/src/node.cpp:84: 1/2 of 3/4", "src/core/src/node.cpp:84: 1/2 of 3/4"),
        ("POST /jobs takes longer ones", "POST /jobs takes longer ones"),
    ],
)
def test_what_a_library_says_names_files_and_no_folders(said, told):
    assert without_folders(said) == told
    record = logging.makeLogRecord({"msg": "not ready", "fields": {"reason": said}})
    assert json.loads(JsonLines().format(record))["reason"] == told


def test_a_folder_that_is_known_is_left_out_whatever_it_is_called():
    folder = Path("/data/of Anna (ward 7)/model")
    told = without_folders(f"Load model from {folder}/network.onnx failed", folder)
    assert told == "Load model from network.onnx failed"

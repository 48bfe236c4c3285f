"""Masks by MONAI Label's contract, asked for by MONAI Label's own client."""

import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from seg.images import read_image, read_mask
from service.frontends.monailabel.sessions import Sessions
from service.middleware.key_file import new_key, write_keys
from service.problems.response import Problem
from tests.packages import CLASSES
from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import serving

MODEL = "nearest-level"
FRAME = generate_uid()
LABELS = {entry.name: entry.index for entry in CLASSES[1:]}


def plain_mask(front, image, **query):
    """What the service itself says."""
    answer = front.post("/segment", params={"format": "nifti", **query}, content=image)
    assert answer.status_code == 200, answer.text
    return read_mask(io.BytesIO(answer.content))


def same_place(found, wanted):
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)


def test_what_there_is_has_no_config_at_the_top_and_numbers_without_gaps(monai):
    info = monai.info()
    assert "config" not in info
    assert info["trainers"] == {}
    model = info["models"][MODEL]
    assert (model["type"], model["dimension"]) == ("segmentation", 3)
    assert model["labels"] == LABELS == {"cytoplasm": 1, "nucleus": 2}


def test_a_session_gives_the_mask_that_the_service_gives(monai, front, scan):
    identity = monai.create_session(str(scan))["session_id"]
    assert monai.get_session(identity)["size"] == scan.stat().st_size
    file, params = monai.infer(MODEL, "", {}, session_id=identity)
    assert file.endswith(".nii.gz")
    found, wanted = read_mask(scan.parent / file), plain_mask(front, scan.read_bytes())
    np.testing.assert_array_equal(found.array, wanted.array)
    assert set(np.unique(found.array)) == {0, 1, 2}
    same_place(found, wanted)
    assert params["label_names"] == LABELS
    assert params["latencies"]["total"] > 0
    assert {"predicted_dice", "warnings"} <= params.keys()
    monai.remove_session(identity)
    with pytest.raises(Exception, match="404"):
        monai.get_session(identity)


def test_an_image_may_come_with_the_request_and_the_file_be_any_that_viewers_read(
    monai, front, scan
):
    wanted = plain_mask(front, scan.read_bytes())
    for ending in (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha"):
        file, _ = monai.infer(MODEL, "", {"result_extension": ending}, file=str(scan))
        assert file.endswith(ending)
        found = read_mask(scan.parent / file)
        np.testing.assert_array_equal(found.array, wanted.array)
        same_place(found, wanted)


def test_nrrd_for_ohif_is_raw_and_of_eight_bits_unless_asked_otherwise(monai, scan):
    file, _ = monai.infer(MODEL, "", {"result_extension": ".nrrd"}, file=str(scan))
    head, _, voxels = Path(file).read_bytes().partition(b"\n\n")
    assert b"encoding: raw" in head
    assert b"type: uint8" in head
    assert len(voxels) == read_image(scan).array.size
    wanted = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": True}
    file, _ = monai.infer(MODEL, "", wanted, file=str(scan))
    head = Path(file).read_bytes()[:400]
    assert b"encoding: gzip" in head
    assert b"type: uint16" in head


def test_one_class_of_two_gets_number_1_and_its_own_name(monai, front, scan):
    """Slicer gives the n-th name the voxels of value n."""
    file, params = monai.infer(MODEL, "", {"label_prompt": [2]}, file=str(scan))
    wanted = plain_mask(front, scan.read_bytes(), classes="nucleus")
    assert params["label_names"] == {"nucleus": 1}
    found = read_mask(scan.parent / file)
    np.testing.assert_array_equal(found.array, wanted.array == 2)
    assert found.array.any()
    told = {"label_prompt": [2], "restore_label_idx": True}
    file, params = monai.infer(MODEL, "", told, file=str(scan))
    assert params["label_names"] == LABELS
    np.testing.assert_array_equal(read_mask(scan.parent / file).array, wanted.array)


def test_every_form_of_answer_can_be_had(front, scan):
    def ask(output):
        answer = front.post(
            f"/infer/{MODEL}", params={"output": output}, files={"file": scan.open("rb")}
        )
        assert answer.status_code == 200, answer.text
        return answer

    assert ask("json").json()["label_names"] == LABELS
    image = ask("image")
    assert 'filename="mask.nii.gz"' in image.headers["content-disposition"]
    assert ask("all").headers["content-type"].startswith("multipart/form-data; boundary=")
    refused = front.post(f"/infer/{MODEL}?output=poem", files={"file": scan.open("rb")})
    assert refused.status_code == 422
    assert "output is one of" in refused.json()["detail"]


def test_the_slices_of_a_series_are_a_session_and_its_answer_may_be_dicom(front):
    affine = np.diag([0.8, 1.5, 3, 1.0])
    volume = (np.arange(8 * 16 * 16).reshape(8, 16, 16) % 200).astype(np.uint8)
    slices = [content_of(each) for each in series_of(volume, affine, FrameOfReferenceUID=FRAME)]
    files = [("files", (f"MUELLER{n}.dcm", part)) for n, part in enumerate(slices)]
    identity = front.put("/session/", files=files).json()["session_id"]
    answer = front.post(f"/infer/{MODEL}?session_id={identity}&output=dicom_seg")
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.content[128:132] == b"DICM"
    nifti = front.post(f"/infer/{MODEL}?session_id={identity}&output=image")
    assert read_mask(io.BytesIO(nifti.content)).array.shape == volume.shape


def turned(about_x, about_z):
    """From voxels to LPS, by angles in degrees."""
    x, z = np.radians(about_x), np.radians(about_z)
    one = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    two = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = two @ one @ np.diag([0.8, 1.5, 3])
    affine[:3, 3] = 11, -7, 40
    return affine


@pytest.mark.parametrize(
    "affine", [turned(0, 0), turned(-90, 90), turned(20, 10)], ids=["axial", "sagittal", "tilted"]
)
def test_the_mask_of_a_series_lies_on_its_slices_whatever_their_orientation(front, affine):
    volume = np.kron(np.arange(3 * 4 * 5).reshape(3, 4, 5) * 4, np.ones((4, 6, 7))).astype(np.uint8)
    slices = [content_of(s) for s in series_of(volume, affine, FrameOfReferenceUID=FRAME)]
    files = [("files", ("slice.dcm", part)) for part in slices[::-1]]
    identity = front.put("/session/", files=files).json()["session_id"]
    params = (None, json.dumps({"result_extension": ".nrrd"}))
    answer = front.post(
        f"/infer/{MODEL}?session_id={identity}&output=image", files={"params": params}
    )
    found = read_mask(io.BytesIO(answer.content))
    archive = front.get(f"/session/{identity}?image=true").content
    wanted = plain_mask(front, archive)
    np.testing.assert_array_equal(found.array, wanted.array)
    assert len(np.unique(found.array)) > 1
    to_ras = np.diag([-1.0, -1, 1, 1]) @ affine
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-3)
    np.testing.assert_allclose(found.affine, to_ras, atol=1e-3)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"result_extension": ".exe"}, "result_extension is one of"),
        ({"label_prompt": [7]}, "label_prompt lists numbers of classes, from 1 to 2"),
        ({"result_dtype": "float8"}, "result_dtype in params"),
    ],
)
def test_what_cannot_be_is_refused_in_the_field_that_monai_label_reads(front, scan, params, said):
    answer = front.post(
        f"/infer/{MODEL}", data={"params": json.dumps(params)}, files={"file": scan.open("rb")}
    )
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_no_image_no_model_and_no_training_are_said_so(front, monai, scan):
    assert "there is no image" in front.post(f"/infer/{MODEL}").json()["detail"]
    assert front.post("/infer/liver", files={"file": scan.open("rb")}).status_code == 404
    told = {"params": json.dumps({"model": "liver", "image": "/etc/passwd"})}
    answer = front.post(f"/infer/{MODEL}?output=json", data=told, files={"file": scan.open("rb")})
    assert answer.json()["model"] == f"{MODEL}:1", "params must not choose the model"
    assert not monai.train_status(check_if_running=True)
    with pytest.raises(Exception, match="no training is offered"):
        monai.train_start(MODEL, {})


def test_nothing_of_a_clients_path_is_logged(monai, front, scan, front_log):
    monai.infer(MODEL, "", {}, file=str(scan))
    identity = monai.create_session(str(scan))["session_id"]
    monai.infer(MODEL, "MUELLER", {}, session_id=identity)
    log = front_log.read_text()
    assert '"/infer/{model}"' in log
    for secret in ("MUELLER", "secret-patient", identity):
        assert secret not in log


def test_an_owner_has_so_many_sessions_and_the_oldest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr("service.frontends.monailabel.sessions.MOST_OF_AN_OWNER", 3)
    kept = Sessions(tmp_path, most_bytes=1000)

    def begin(owner: str, size: int = 1) -> str:
        identity, _ = kept.begin(owner, [("a.png", io.BytesIO(bytes(size)))])
        image, _ = kept.get(identity, owner)
        os.utime(image, (begun[0], begun[0]))
        begun[0] += 1
        return identity

    begun = [time.time() - 100]
    other = begin("other", 400)
    first, *rest = [begin("one") for _ in range(4)]
    with pytest.raises(Problem, match="expired"):
        kept.get(first, "one")
    assert [kept.get(each, "one")[1].size for each in rest] == [1, 1, 1]
    large = begin("one", 500)  # half of the room: the owner's others go, and nobody else's
    for each in rest:
        with pytest.raises(Problem, match="expired"):
            kept.get(each, "one")
    assert kept.get(large, "one")[1].size + kept.get(other, "other")[1].size == 900
    with pytest.raises(Problem, match="no room"):
        begin("third", 101)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_process_left_of_a_session_goes(tmp_path):
    half = tmp_path / ("x" * 43)
    half.mkdir()
    kept = Sessions(tmp_path, most_bytes=1000)
    kept.begin("one", [("a.png", io.BytesIO(b"x"))])
    assert half.exists()
    os.utime(half, (1, 1))
    kept.begin("one", [("a.png", io.BytesIO(b"x"))])
    assert not half.exists()


def test_a_key_is_the_password_of_a_log_in_and_its_sessions_are_its_own(
    peer, tiny_package_3d, tmp_path, scan, caplog
):
    caplog.set_level("INFO")
    keys = {name: new_key(name, ["segment"]) for name in ("one", "other")}
    write_keys(tmp_path / "keys.json", [key for key, _ in keys.values()])
    settings = {
        "SEG_FRONTENDS": "monailabel",
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(tmp_path / "keys.json"),
        "SEG_SESSIONS": str(tmp_path / "sessions"),
    }
    with serving(tiny_package_3d, tmp_path, **settings) as front:
        clients = {}
        for name, (_, token) in keys.items():
            client = peer.MONAILabelClient(str(front.base_url), tmpdir=str(tmp_path))
            assert client.auth_enabled()
            assert not client.auth_valid_token()
            with pytest.raises(Exception, match="401"):
                client.info()
            with pytest.raises(Exception, match="401"):
                client.auth_token("anna", token[:-1])
            client.update_auth(client.auth_token("anna", token))
            assert client.auth_valid_token()
            clients[name] = client
        identity = clients["one"].create_session(str(scan))["session_id"]
        assert clients["one"].get_session(identity)
        with pytest.raises(Exception, match="404"):
            clients["other"].get_session(identity)
        file, _ = clients["one"].infer("nearest-level", "", {}, session_id=identity)
        assert read_mask(tmp_path / file).array.any()
        # Once logged in, the client sends the length of its last body with requests that have none.
        assert "content-length" in clients["one"]._headers
        assert clients["one"].get_session(identity)
        assert clients["one"].infer("nearest-level", "", {}, session_id=identity)
        assert clients["one"].info()["models"]
    said = str([record.__dict__ for record in caplog.records if record.name == "service"])
    assert "/session/" in said
    assert not any(token in said for _, token in keys.values())


def test_the_front_end_is_off_until_it_is_named(client):
    assert client.get("/info/").status_code == 404
    assert client.get("/auth/").status_code == 404

import io
import json
import socket
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest

from seg.images import MASK_FORMATS
from tests.packages import CLASSES, LEVELS, SPARK
from tests.seg.images.dicom.files import content_of, slice_of
from tests.service.conftest import labels_of, log_lines, png, until

FRAME = pydicom.uid.generate_uid()
RNG = np.random.default_rng(7)

MODEL = 'model="nearest-level",version="1"'


def blocks(height, width, rng=RNG):
    """A picture of coarse blocks in the three levels that the network tells apart."""
    levels = (255 * np.array(LEVELS)).astype(np.uint8)
    coarse = levels[rng.integers(0, len(levels), (-(-height // 10), -(-width // 10)))]
    return np.kron(coarse, np.ones((10, 10), np.uint8))[:height, :width]


def sample(metrics: str, name: str) -> float:
    return float(next(line for line in metrics.splitlines() if line.startswith(name)).split()[-1])


def test_a_mask_has_the_size_of_its_image_and_the_class_of_its_level(client):
    for index, level in enumerate(LEVELS):
        answer = client.post("/segment", files={"image": png(np.full((40, 90), 255 * level))})
        assert answer.status_code == 200
        labels = labels_of(answer.content)
        assert labels.shape == (40, 90)
        assert set(labels[2:-2, 2:-2].ravel()) == {index}


def test_classes_and_a_threshold_choose_what_the_mask_holds(client):
    image = png(blocks(50, 70))
    whole = labels_of(client.post("/segment", content=image).content)
    nucleus = client.post("/segment?classes=nucleus", content=image)
    np.testing.assert_array_equal(labels_of(nucleus.content), np.where(whole == 2, 2, 0))
    cut = labels_of(client.post("/segment?threshold=0.8", content=image).content)
    assert 0 < (cut > 0).sum() < (whole > 0).sum()
    sizes = client.post("/segment?classes=nucleus&format=json", content=image).json()
    assert [each["name"] for each in sizes["classes"]] == ["background", "nucleus"]


def test_a_form_and_a_raw_body_give_the_same_mask(client):
    image = png(blocks(50, 70))
    form = client.post("/segment", files={"image": ("scan.png", image, "image/png")})
    raw = client.post("/segment", content=image, headers={"Content-Type": "image/png"})
    wrongly_labelled = client.post(
        "/segment", content=image, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert form.status_code == raw.status_code == wrongly_labelled.status_code == 200
    assert form.content == raw.content == wrongly_labelled.content


def dicom(pixels):
    return content_of(slice_of(pixels, FrameOfReferenceUID=FRAME, SliceThickness=2))


@pytest.mark.parametrize("name", MASK_FORMATS)
def test_every_format_can_be_asked_for_by_name(client, name):
    assert name in client.get("/model").json()["runtime"]["formats"]
    answer = client.post("/segment", params={"format": name}, content=dicom(blocks(40, 40)))
    assert answer.status_code == 200
    entry = MASK_FORMATS[name]
    assert answer.headers["Content-Type"].partition(";")[0] == entry.media_type
    assert answer.headers["Content-Disposition"] == f'inline; filename="mask{entry.suffix}"'
    assert len(answer.content) > 20


def test_a_dicom_answer_refers_to_the_dicom_image_that_was_sent(client):
    image = dicom(blocks(40, 90))
    answer = client.post("/segment", content=image, headers={"Accept": "application/dicom"})
    segmentation = pydicom.dcmread(io.BytesIO(answer.content))
    assert segmentation.Modality == "SEG"
    (series,) = segmentation.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    source = pydicom.dcmread(io.BytesIO(image))
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_of_a_study_the_series_that_is_asked_for_is_segmented(client):
    levels = (255 * np.array(LEVELS)).astype(np.uint8)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as study:
        for number in (1, 2):
            pixels = np.full((40, 40), levels[number])
            dataset = slice_of(pixels, SeriesInstanceUID=f"1.2.{number}")
            study.writestr(f"{number}.dcm", content_of(dataset))
        study.writestr("notes.bin", "x" * 400)
    refused = client.post("/segment", content=archive.getvalue())
    assert refused.status_code == 422
    assert "1.2.1 (1 files), 1.2.2 (1 files)" in refused.json()["detail"]
    for number in (1, 2):
        answer = client.post(
            "/segment", params={"series": f"1.2.{number}"}, content=archive.getvalue()
        )
        assert labels_of(answer.content)[20, 20] == number
        said = json.loads(answer.headers["X-Segmentation-Quality"])["warnings"]
        assert "1 file left out: 1 that are no DICOM" in said
    wrong = client.post("/segment", params={"series": "x"}, content=archive.getvalue())
    assert wrong.status_code == 422


@pytest.mark.parametrize("name", ["dicom-seg", "rtstruct"])
def test_a_dicom_answer_to_an_image_that_is_none_is_refused(client, name):
    answer = client.post("/segment", params={"format": name}, content=png(blocks(40, 40)))
    assert answer.status_code == 422
    assert "did not come from DICOM" in answer.json()["detail"]


def test_the_accept_header_chooses_and_a_format_by_name_wins(client):
    image = png(blocks(40, 40))
    as_json = client.post("/segment", content=image, headers={"Accept": "application/json"})
    assert as_json.headers["Content-Type"] == "application/json"
    json.loads(as_json.content)
    as_polygons = client.post("/segment", content=image, headers={"Accept": "application/geo+json"})
    assert as_polygons.json()["type"] == "FeatureCollection"
    as_png = client.post(
        "/segment",
        params={"format": "png"},
        content=image,
        headers={"Accept": "application/json"},
    )
    assert as_png.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["text/html", "application/json"], id="two lines"),
        pytest.param(["image/png;q=0.2", "application/json; q=.3"], id="two lines, with weights"),
        pytest.param(["*/*;q=.1,image/png;q=0", "application/json"], id="two lines of lists"),
        pytest.param(["image/png;q=nan, application/json;q=0.1"], id="a weight that is none"),
    ],
)
def test_several_accept_headers_are_one_list(client, lines):
    headers = [("Accept", line) for line in lines]
    answer = client.post("/segment", content=png(blocks(8, 8)), headers=headers)
    assert answer.headers["Content-Type"] == "application/json"


def test_sixteen_images_of_mixed_sizes_share_batches_and_keep_their_masks(client):
    images = [png(blocks(30 + 13 * n, 200 - 11 * n)) for n in range(16)]
    alone = [client.post("/segment", content=image).content for image in images]
    before = client.get("/metrics").text
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda image: client.post("/segment", content=image), images))
    after = client.get("/metrics").text
    assert [answer.status_code for answer in together] == [200] * 16
    assert [answer.content for answer in together] == alone
    runs = growth(before, after, f"seg_batch_requests_count{{{MODEL}}}")
    of_one_request = growth(before, after, f'seg_batch_requests_bucket{{le="1.0",{MODEL}}}')
    assert of_one_request < runs / 2
    assert growth(before, after, f"seg_batch_patches_sum{{{MODEL}}}") > 4 * runs


def growth(before: str, after: str, name: str) -> float:
    return sample(after, name) - sample(before, name)


def test_a_poisoned_image_fails_alone(client):
    images = [blocks(60 + n, 80) for n in range(8)]
    alone = [client.post("/segment", content=png(image)).content for image in images]
    poisoned = images[0].copy()
    poisoned[30, 30] = SPARK + 5
    bodies = [png(image) for image in images]
    bodies.insert(4, png(poisoned))
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda body: client.post("/segment", content=body), bodies))
    failed = answers.pop(4)
    assert failed.status_code == 500
    assert "Gather" not in failed.text
    assert [answer.content for answer in answers] == alone


def test_a_large_image_does_not_hold_up_a_probe(client):
    slowest, begun = 0.0, time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/segment", content=png(blocks(900, 900)))
        while not answer.done():
            start = time.perf_counter()
            assert client.get("/livez").status_code == 200
            slowest = max(slowest, time.perf_counter() - start)
    assert answer.result().status_code == 200
    took = time.perf_counter() - begun
    assert slowest < max(1.0, took / 2)


def test_the_work_for_a_client_that_left_is_stopped(client, server_log):
    body = png(blocks(2000, 2000))
    head = (
        "POST /segment HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: left-early\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: sample(client.get("/metrics").text, "seg_patches_waiting") > 0)
    until(lambda: sample(client.get("/metrics").text, "seg_requests_active") == 0)
    until(lambda: log_lines(server_log, "left-early"))
    assert log_lines(server_log, "left-early")[0]["status"] == 499


def test_the_card_tells_the_classes_and_what_runs_the_model(client):
    card = client.get("/model").json()
    assert [entry["name"] for entry in card["classes"]] == [entry.name for entry in CLASSES]
    assert card["runtime"]["provider"] == "CPUExecutionProvider"
    assert card["runtime"]["batch_size"] == 8
    assert card["runtime"]["golden_error"] <= 1e-4


def test_bentoml_clients_get_logits_of_patches(client):
    import bentoml

    patches = np.empty((len(LEVELS), 1, 32, 32), np.float32)
    patches[:] = np.reshape(LEVELS, (-1, 1, 1, 1))
    native = bentoml.SyncHTTPClient(str(client.base_url), server_ready_timeout=30)
    logits = native.infer_patches(patches=patches)
    native.close()
    assert logits.shape == (len(LEVELS), len(LEVELS), 32, 32)
    classes = logits[:, :, 1:-1, 1:-1].argmax(axis=1)  # borders are smoothed with what is not there
    for index, labels in enumerate(classes):
        assert (labels == index).all()


def test_patches_of_another_size_are_refused_before_they_join_others(client):
    for wrong in ([[[[0.5]]]], [], [[1, 2], [3]], "text", [[[["a"]]]], {"a": 1}):
        answer = client.post("/infer_patches", json={"patches": wrong})
        assert answer.status_code == 422, wrong
        assert "(b, 1, 32, 32)" in answer.text


@pytest.mark.parametrize("value", ["NaN", "1e400", "-Infinity", "null", "1e39"])
def test_patches_of_what_is_no_number_are_refused(client, value):
    text = json.dumps(np.zeros((1, 1, 32, 32)).tolist()).replace("0.0", value, 1)
    headers = {"Content-Type": "application/json"}
    answer = client.post("/infer_patches", content=text, headers=headers)
    assert answer.status_code == 422
    assert "hold null, NaN" in answer.json()["detail"]


def test_patches_come_as_a_form_too_and_as_nothing_else(client):
    patches = RNG.uniform(0, 0.9, (1, 1, 32, 32)).round(3)
    text = json.dumps(patches.tolist())
    sent = client.post("/infer_patches", json={"patches": patches.tolist()})
    for form in ({"files": {"patches": text}}, {"files": {"patches": (None, text)}}):
        answer = client.post("/infer_patches", **form)
        assert answer.json() == sent.json()
    headers = {"Content-Type": "application/x-npy"}
    assert client.post("/infer_patches", content=text, headers=headers).status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b'{"patches":[' + b"[]," * 50_000 + b"[]]}",
        b"[" * 100_000,
        b'{"patches":[[[' + b"1," * 90_000 + b"1]]]}",
        b'{"patches":' + b'{"a":' * 50_000,
        b'{"patches":[' + b'"a",' * 40_000 + b'"a"]}',
    ],
    ids=["lists", "depth", "numbers", "objects", "strings"],
)
def test_json_that_would_grow_is_refused_by_what_it_would_become(client, body):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/infer_patches", content=body, headers=headers)
    assert answer.status_code == 413
    assert "patches" in answer.json()["detail"]


def test_the_array_file_holds_the_same_labels_as_the_picture(client):
    image = png(blocks(45, 75))
    picture = labels_of(client.post("/segment", content=image).content)
    arrays = np.load(io.BytesIO(client.post("/segment?format=npz", content=image).content))
    assert any(np.array_equal(arrays[name], picture) for name in arrays.files)

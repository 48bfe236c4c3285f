"""Label Studio's contract: its own decoder reads the strokes, and what is drawn comes back."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import PIL.Image
import pytest
import tifffile
from starlette.testclient import TestClient

from seg.errors import ConfigError
from service.app import create_app
from service.frontends.labelstudio.label_config import LabelConfig
from service.middleware.key_file import new_key, write_keys
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.requests.json_bodies import SIDE_BY_SIDE
from service.settings import Settings
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.studio_folder import StudioFolder
from tests.packages import write_package
from tests.service.conftest import PATIENCE_S, labels_of, png
from training.dataset import load_dataset

LEVELS = np.random.default_rng(5).integers(0, 3, (6, 7)) * 100
PIXELS = np.kron(LEVELS, np.ones((8, 9))).astype(np.uint8)
IMAGE = png(PIXELS)
LABELS = """<Label value="Nucleus"/><Label value="cyto" predicted_values="Cytoplasm, plasma"/>"""


def config(kind="Brush", labels=LABELS, image='<Image name="img" value="$image"/>'):
    tag = f'<{kind}Labels name="tag" toName="img">{labels}</{kind}Labels>'
    return f'<View><Header value="x"/>{image}{tag}</View>'


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def task(number=1, url=None):
    return {"id": number, "data": {"image": data_url(IMAGE) if url is None else url}}


class Upstream(BaseHTTPRequestHandler):
    """Stands where Label Studio and another host are; says what it was asked."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + "/image.png")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(IMAGE)))
        self.end_headers()
        self.wfile.write(IMAGE)

    def do_POST(self):
        self.server.asked.append((self.path, None))
        answer = json.dumps({"access": "for-five-minutes"}).encode()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hosts():
    """Label Studio and another host."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Upstream) for _ in range(2)]
    for server in servers:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].elsewhere = servers[1].url
    yield servers
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def serving(tmp_path_factory, hosts):
    """Makes clients of applications; their models end with the module."""
    registries = []
    package = write_package(tmp_path_factory.mktemp("package") / "package")

    def make(token="", package=package, guarded=False, **settings):
        folder = tmp_path_factory.mktemp("serving")
        (folder / "token").write_text(token)
        named = {"label_studio": hosts[0].url, "url_allow": hosts[1].url, **settings}
        if token:
            named["label_studio_token_file"] = folder / "token"
        made = Settings(
            package=package, frontends="label-studio", studies=folder / "studies", **named
        )
        registries.append(ModelRegistry(made, Metrics()))
        registries[-1].start()
        registries[-1].wait()
        client = TestClient(create_app(registries[-1], guarded=guarded))
        client.studies = folder / "studies"
        return client

    yield make
    for registry in registries:
        registry.close()


@pytest.fixture(scope="module")
def backend(serving):
    with serving() as client:
        yield client


@pytest.fixture(scope="module")
def truth(backend):
    mask = labels_of(backend.post("/segment", content=IMAGE).content)
    assert set(np.unique(mask)) == {0, 1, 2}
    return mask


def predicted(client, kind="Brush", tasks=None, **more):
    body = {"tasks": tasks or [task()], "label_config": config(kind), **more}
    return client.post("/label-studio/predict", json=body)


def error(answer, status):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


@pytest.mark.network
def test_label_studios_own_decoder_finds_the_masks_that_segment_answers(backend, truth, brush):
    (found,) = predicted(backend).json()["results"]
    assert found["model_version"] == "nearest-level:1"
    regions = [{**each, "rle": each["value"]["rle"]} for each in found["result"]]
    for each in regions:
        each["brushlabels"] = each["value"]["brushlabels"]
    layers = brush.decode_from_annotation("tag", regions)
    assert set(layers) == {"tag-Nucleus-0", "tag-cyto-0"}
    np.testing.assert_array_equal(layers["tag-Nucleus-0"] > 0, truth == 2)
    np.testing.assert_array_equal(layers["tag-cyto-0"] > 0, truth == 1)


def event(result, action="ANNOTATION_CREATED", number=1, kind="Brush", of=None, **annotation):
    return {
        "action": action,
        "project": {"id": 3, "label_config": config(kind), "title": "x"},
        "task": of or task(),
        "annotation": {"id": number, "result": result, **annotation},
    }


@pytest.mark.parametrize("kind", ["Brush", "Polygon"])
def test_an_accepted_prediction_comes_back_as_a_dataset_bit_by_bit(serving, truth, kind):
    with serving() as client:
        (found,) = predicted(client, kind).json()["results"]
        answer = client.post("/label-studio/webhook", json=event(found["result"], kind=kind))
        assert answer.status_code == 201, answer.text
        assert answer.json()["result"] == [{"image": "ls-3-1", "annotation": 1, "counts": 1}]
        second = event(found["result"], number=2, kind=kind, of=task(2))
        assert client.post("/label-studio/webhook", json=second).status_code == 201
    mask = tifffile.imread(client.studies / "masks" / "ls-3-1.tif")
    np.testing.assert_array_equal(mask, truth)
    dataset = load_dataset(client.studies)
    assert [info.name for info in dataset.classes] == ["background", "cytoplasm", "nucleus"]
    assert [case.name for case in dataset.cases] == ["ls-3-1", "ls-3-2"]
    assert (client.studies / "images" / "ls-3-1.png").read_bytes() == IMAGE


def test_of_a_model_of_objects_each_object_is_a_polygon_and_comes_back_as_one(serving, tmp_path):
    package = write_package(tmp_path / "objects", objects=True)
    with serving(package=package) as client:
        counted = client.post("/segment?format=objects", content=IMAGE).json()["objects"]
        (found,) = predicted(client, "Polygon").json()["results"]
        assert len(found["result"]) == len(counted) > 2
        sent = client.post("/label-studio/webhook", json=event(found["result"], kind="Polygon"))
        assert sent.status_code == 201, sent.text
        instances = client.post("/segment?format=instances", content=IMAGE).content
        table = client.studies / "objects.csv"
        before = table.read_text()
        value = found["result"][0]["value"]
        value["polygonlabels"] = ["cyto" if value["polygonlabels"] == ["Nucleus"] else "Nucleus"]
        changed = event(found["result"], "ANNOTATION_UPDATED", kind="Polygon")
        assert client.post("/label-studio/webhook", json=changed).status_code == 201
        assert table.read_text() != before, "a class was changed, and no outline"
    numbers = tifffile.imread(client.studies / "masks" / "ls-3-1.tif")
    truth = tifffile.imread(io.BytesIO(instances))
    np.testing.assert_array_equal(numbers > 0, truth > 0)
    pairs = set(zip(numbers.ravel().tolist(), truth.ravel().tolist(), strict=True))
    assert len(pairs) == len(counted) + 1


def rectangle(label="Nucleus", x=0.0, **more):
    value = {"x": x, "y": 0, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": [label]}
    return {
        "type": "rectanglelabels",
        "to_name": "img",
        "original_width": 63,
        "original_height": 48,
        "value": value,
        **more,
    }


def test_of_two_annotators_ground_truth_counts_and_then_the_last(serving):
    with serving() as client:

        def send(number, x, action="ANNOTATION_CREATED", **more):
            body = event([rectangle(x=x)], action, number, kind="Rectangle", **more)
            body["project"]["label_config"] = config().replace("</View>", RECTANGLES)
            return client.post("/label-studio/webhook", json=body).json()["result"][0]["counts"]

        def left():
            mask = tifffile.imread(client.studies / "masks" / "ls-3-1.tif")
            return int(np.nonzero(mask)[1].min())

        assert send(1, 0, ground_truth=True) == 1
        assert send(2, 25) == 1
        assert left() == 0
        assert send(1, 0, "ANNOTATION_UPDATED", ground_truth=False) == 1
        assert send(2, 50, "ANNOTATION_UPDATED") == 2
        assert left() == 31  # half a pixel's centre at 31.5 of 63
        gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 2}]}
        answer = client.post("/label-studio/webhook", json=gone)
        assert answer.json()["result"] == {"forgotten": ["ls-3-1"]}
        assert left() == 0
        skipped = event([], "ANNOTATION_UPDATED", 1, was_cancelled=True)
        assert client.post("/label-studio/webhook", json=skipped).status_code == 201
        assert not list((client.studies / "masks").iterdir())
        assert send(3, 50) == send(4, 0) - 1 == 3
        corrected = np.zeros(PIXELS.shape, np.uint8)
        corrected[:, 7:] = 1
        store, file = StudioFolder(client.studies), io.BytesIO()
        tifffile.imwrite(file, corrected)
        mask = DrawnMask(content=file.getvalue(), ending=".tif", objects={})
        store.keep("ls-3-1", mask, Author())
        client.post("/label-studio/webhook", json=gone | {"annotations": [{"id": 4}]})
        assert left() == 7, "nobody deleted what was corrected elsewhere"
        store.remove("ls-3-1")
        assert not list((client.studies / ".label-studio").iterdir())


RECTANGLES = (
    '<RectangleLabels name="box" toName="img"><Label value="Nucleus"/></RectangleLabels></View>'
)


def test_a_photograph_that_was_turned_is_drawn_on_as_it_is_seen(serving, truth):
    file = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[274] = 6
    turned = np.rot90(PIXELS)  # which the tag turns back
    PIL.Image.fromarray(turned).save(file, "JPEG", exif=exif, quality=100)
    with serving() as client:
        body = {"tasks": [task(url=data_url(file.getvalue()))], "label_config": config()}
        (found,) = client.post("/label-studio/predict", json=body).json()["results"]
        sizes = {(each["original_width"], each["original_height"]) for each in found["result"]}
        assert sizes == {(63, 48)}


def test_nothing_drawn_is_a_mask_of_background(serving):
    with serving() as client:
        assert client.post("/label-studio/webhook", json=event([])).status_code == 201
        assert not tifffile.imread(client.studies / "masks" / "ls-3-1.tif").any()


STROKE = {"format": "rle", "rle": [0, 0], "brushlabels": ["Nucleus"]}


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (rectangle("mitosis"), "mitosis"),
        (rectangle(original_width=64), "63 x 48"),
        (rectangle(image_rotation=90), "turned"),
        (rectangle(type="keypointlabels"), "keypointlabels"),
        (rectangle(type="brushlabels", value=STROKE), "cut off"),
        (7, "not as Label Studio"),
    ],
    ids=["label", "size", "turned", "kind", "stroke", "number"],
)
def test_what_cannot_be_a_mask_is_refused_and_nothing_is_kept(serving, region, says):
    with serving() as client:
        assert says in error(client.post("/label-studio/webhook", json=event([region])), 422)
        assert not (client.studies / "masks").exists()
        assert not (client.studies / "images").exists()


def test_regions_of_another_image_of_the_task_are_passed_over(serving):
    with serving() as client:
        other = rectangle(to_name="second", original_width=9)
        assert client.post("/label-studio/webhook", json=event([other])).status_code == 201
        assert not tifffile.imread(client.studies / "masks" / "ls-3-1.tif").any()


def test_of_several_tasks_one_that_fails_says_why_and_costs_no_other(backend):
    bad = [{"id": 2, "data": {}}, {"id": 3, "data": {"image": ["a", "b"]}}, task(4, "data:x,y")]
    answer = predicted(backend, tasks=[task(), *bad])
    first, *others = answer.json()["results"]
    assert first["result"]
    assert [each["status"] for each in others] == [422] * 3
    assert all(set(each) == {"error", "status"} for each in others)
    assert "single image" in error(predicted(backend, tasks=bad), 422)
    assert predicted(backend, tasks=[task()], params={"context": None}).status_code == 200
    assert "clicks" in error(predicted(backend, params={"context": {"result": [{}]}}), 422)


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<View>", "no XML"),
        ("<View/>", "BrushLabels, PolygonLabels"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "declarations"),
        (config(image=""), "toName"),
        (config(image='<Image name="img" valueList="$images"/>'), "one image"),
        (config(labels='<Label value="car"/>'), "cytoplasm, nucleus"),
    ],
)
def test_a_project_that_cannot_be_answered_is_told_at_once(backend, xml, says):
    body = {"project": "3.17", "schema": xml, "hostname": "", "access_token": ""}
    assert says in error(backend.post("/label-studio/setup", json=body), 422)


@pytest.mark.parametrize(
    ("grows", "status"),
    [("[]", 413), ("{}", 413), ('""', 413), ("0", 413), ("{},", 400)],
)
def test_json_that_grows_is_refused_before_it_is_read(backend, grows, status):
    few = grows.endswith(",")  # of tasks
    many = ",".join([grows.strip(",")] * (1001 if few else 1_000_001))
    body = f'{{"label_config": "<View/>", "tasks": [{many}]}}'
    refused = backend.post("/label-studio/predict", content=body)
    assert refused.status_code == status, refused.text
    assert ("1000 items" if few else "at most") in refused.text


def test_long_requests_wait_for_each_other_on_disk(backend, monkeypatch):
    together, most, met = 0, 0, threading.Condition()

    class Watched(LabelConfig):
        @classmethod
        def parsed(cls, text):
            nonlocal together, most
            with met:
                together += 1
                most = max(most, together)
                met.notify_all()
                assert met.wait_for(lambda: most >= SIDE_BY_SIDE, PATIENCE_S)
            time.sleep(0.1)  # for one more that must not come
            with met:
                together -= 1
            return LabelConfig.parsed(text)

    monkeypatch.setattr("service.frontends.labelstudio.routes.LabelConfig", Watched)
    xml = config() + " " * 200_000
    body = json.dumps({"schema": xml, "extra_params": None, "more": "x" * (1 << 20)})
    threads = [
        threading.Thread(
            target=backend.post, args=["/label-studio/setup"], kwargs={"content": body}
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == SIDE_BY_SIDE


def test_a_label_is_one_of_the_control_next_around_it():
    inner = '<PolygonLabels name="p" toName="img"><Label value="Cytoplasm"/></PolygonLabels>'
    found = LabelConfig.parsed(config("Brush", f'<Label value="Nucleus"/>{inner}'))
    assert found.drawn == ("Nucleus",)
    assert found.meant.keys() == {"Nucleus", "Cytoplasm"}


def test_set_up_and_asked_whether_it_is_there(backend):
    body = {"project": "3.17", "schema": config(), "hostname": "", "extra_params": None}
    for root in ("/label-studio", "/label-studio/nearest-level"):
        told = {"status": "UP", "model_class": "seg"}
        assert backend.get(f"{root}/health").json() == told
        assert backend.get(f"{root}/").json() == told
        answer = backend.post(f"{root}/setup", json=body)
        assert answer.json() == {"model_version": "nearest-level:1"}
    assert "nearest-level" in error(backend.get("/label-studio/none/health"), 404)
    body["extra_params"] = '{"a": 1}'
    assert "extra" in error(backend.post("/label-studio/setup", json=body), 422)
    assert "schema" in error(backend.post("/label-studio/setup", json={}), 400)
    assert error(backend.post("/label-studio/predict", content=b"[" * 100_000), 400)
    assert error(backend.post("/label-studio/predict", content=b" " * 16_000_001), 413)
    other = backend.post("/label-studio/webhook", json={"action": "TASKS_CREATED"})
    assert (other.status_code, other.json()) == (200, {"status": "Unknown event"})
    training = {"action": "START_TRAINING"}
    assert "training.fit" in error(backend.post("/label-studio/webhook", json=training), 501)


def test_only_label_studio_is_shown_its_token(serving, hosts):
    studio, other = hosts
    with serving(token="secret") as client:
        for url in ("/data/upload/3/cell.png", f"{other.url}/cell.png", "/moved", "s3://b/a b.png"):
            studio.asked.clear(), other.asked.clear()
            (found,) = predicted(client, tasks=[task(7, url)]).json()["results"]
            assert found["result"]
            assert all(token == "Token secret" for _, token in studio.asked)
            assert all(token is None for _, token in other.asked)
        uri = base64.b64encode(b"s3://b/a b.png").decode().replace("=", "%3D")
        assert studio.asked[0][0] == f"/tasks/7/resolve/?fileuri={uri}"


def test_a_personal_token_is_changed_for_one_of_minutes_once(serving, hosts):
    studio, _ = hosts
    with serving(token="eyJhbGciOiJIUzI1NiJ9.e30.x") as client:
        studio.asked.clear()
        for _ in range(2):
            assert predicted(client, tasks=[task(url="/data/cell.png")]).status_code == 200
    assert [path for path, _ in studio.asked].count("/api/token/refresh") == 1
    assert studio.asked[-1] == ("/data/cell.png", "Bearer for-five-minutes")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "//127.0.0.1:1/a.png", "file:///a"])
def test_images_of_hosts_that_nobody_listed_are_not_fetched(backend, url):
    assert error(predicted(backend, tasks=[task(url=url)]), 422)


def test_a_key_comes_as_a_password_and_nothing_is_there_unless_it_is_named(serving, tmp_path):
    key, secret = new_key("studio", ("segment",))
    write_keys(tmp_path / "keys.json", [key])
    settings = {"keys": "required", "keys_file": tmp_path / "keys.json", "guarded": True}
    client = serving(**settings)
    refused = client.get("/label-studio/health")
    assert "key" in error(refused, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert client.get("/label-studio/health", auth=("any", secret)).status_code == 200
    assert error(client.get("/label-studio/health", auth=("any", "x")), 401)
    sent = client.post("/label-studio/webhook", json=event([]), auth=("any", secret))
    assert "annotate" in error(sent, 403)
    plain = ModelRegistry(Settings(package=tmp_path), Metrics())
    answer = TestClient(create_app(plain)).get("/label-studio/health")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_token_that_cannot_be_read_is_said_before_anything_is_served(serving):
    with pytest.raises(ConfigError, match="SEG_LABEL_STUDIO_TOKEN_FILE"):
        serving(token="two words")

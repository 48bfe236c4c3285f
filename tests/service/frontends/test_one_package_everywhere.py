"""One package, trained once, in the hands of everybody's programs: the mask is the same."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import shapely
import tifffile

from seg.images import Image, write_image
from seg.model_package import ModelPackage, read_card, write_card
from seg.transforms import normalise
from tests.orthanc import free_port
from tests.peers import installed_apart
from tests.service.conftest import ROOT, served, until_status
from training.export import main as export
from training.fit import main as fit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SIZE = 64
"""Of images and of a patch: programs that tile otherwise than we have nothing to tile."""
ADDRESS = "http://127.0.0.1:3000"
"""Of the service, in documents."""
PAGE = (ROOT / "docs" / "front-ends.md").read_text(encoding="utf-8")
STAND_INS = """
def getCurrentServer() { System.getenv("IMAGE") }
def writeImage(server, path) { new File(path).bytes = new File(server).bytes }
def importObjectsFromFile(path) { new File(System.getenv("FOUND")).bytes = new File(path).bytes }
"""
FILLED = """
getDimensions(w, h, a, b, c);
newImage("labels", "16-bit black", w, h, 1);
for (i = 0; i < roiManager("count"); i++) {
    roiManager("select", i);
    value = 1;
    if (indexOf(Roi.getName, "nucleus") >= 0) value = 2;
    setColor(value);
    fill();
}
run("Select None");
saveAs("Tiff", "FOUND");
run("Quit");
"""


def printed(section: str) -> str:
    """The first script below a heading of the page."""
    text = PAGE.split(f"## {section}\n")[1]
    return re.search(r"```\w+\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Trained on discs of two classes; few steps suffice to see both."""
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run") / "discs"
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for number in range(8):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for _ in range(6):
            y, x, radius = random.integers([6, 6, 4], [58, 58, 9])
            mask[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = random.integers(1, 3)
        pixels = np.array([30, 110, 190])[mask] + random.normal(0, 12, mask.shape)
        for folder, array in (("images", pixels.clip(0, 255)), ("masks", mask)):
            (data / folder).mkdir(exist_ok=True)
            path = data / folder / f"disc-{number}.tif"
            write_image(path, Image(array.astype(np.uint8)[np.newaxis]))
    (data / "dataset.yaml").write_text("classes: [background, cytoplasm, nucleus]\n")
    options = ["--steps", "60", "--network", "resunet-xs", "--patch", "64", "64"]
    options += ["--margin", "0", "0", "--augmentation", "none", "--precision", "float32"]
    assert fit([str(data), "--out", str(run), *options]) == 0
    shutil.copy(data / "images" / "disc-0.tif", run / "image.tif")
    # What does not stand out is background: a rule that zoo and hub have no words for, as they say.
    card = read_card(run / "package")
    plain = card.input.model_copy(update={"stands_out": None})
    write_card(run / "package", card.model_copy(update={"input": plain}))
    return run / "package"


@pytest.fixture(scope="module")
def image(package) -> Path:
    return package.parent / "image.tif"


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(package, tmp_path_factory, grpc_port):
    """A client of a service that speaks all contracts at once."""
    log = tmp_path_factory.mktemp("everywhere") / "log.txt"
    settings = {
        "SEG_FRONTENDS": "oip,oip-grpc,label-studio,monailabel",
        "SEG_GRPC_PORT": str(grpc_port),
        "SEG_PROVIDER": "cpu",
        "SEG_PRECISION": "float32",
        "SEG_SESSIONS": str(log.parent / "sessions"),
    }
    with served(package, log, **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


@pytest.fixture(scope="module")
def truth(service, image):
    """What ``/segment`` answers."""
    answer = service.post("/segment?format=tiff", content=image.read_bytes())
    mask = tifffile.imread(io.BytesIO(answer.raise_for_status().content))
    assert set(np.unique(mask)) == {0, 1, 2}
    return mask


def same(mask, truth):
    np.testing.assert_array_equal(np.squeeze(mask), truth)


def ran(command, **environment) -> str:
    """What a program says; it must end well."""
    done = subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def address_of(service) -> str:
    return str(service.base_url).rstrip("/")


def test_on_the_command_line(package, image, truth, tmp_path):
    command = [sys.executable, "-m", "seg.predict", package, image, "--out", tmp_path]
    ran([*command, "--format", "tiff", "--provider", "cpu", "--precision", "float32"])
    same(tifffile.imread(tmp_path / "image.tif"), truth)


TRITON = """
import sys, numpy as np
from tritonclient import grpc, http
content = np.array([open(sys.argv[3], "rb").read()], object)
masks = {}
for name, module, address in (("http", http, sys.argv[1]), ("grpc", grpc, sys.argv[2])):
    tensor = module.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(content)
    found = module.InferenceServerClient(address).infer(sys.argv[4], [tensor])
    masks[name] = found.as_numpy("mask")
np.savez(sys.argv[5], **masks)
"""


@pytest.mark.network
def test_in_tritons_client(service, package, image, truth, triton_client, grpc_port, tmp_path):
    name = ModelPackage.load(package).card.name
    addresses = [address_of(service).removeprefix("http://"), f"127.0.0.1:{grpc_port}"]
    command = [sys.executable, "-c", TRITON, *addresses, image, name, tmp_path / "masks.npz"]
    ran(command, PYTHONPATH=triton_client)
    masks = np.load(tmp_path / "masks.npz")
    same(masks["http"], truth)
    same(masks["grpc"], truth)


@pytest.mark.network
def test_in_label_studio(service, image, truth, brush):
    content = base64.b64encode(image.read_bytes()).decode()
    labels = '<Label value="cytoplasm"/><Label value="nucleus"/>'
    config = '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">'
    body = {
        "tasks": [{"id": 1, "data": {"image": f"data:image/tiff;base64,{content}"}}],
        "label_config": f"{config}{labels}</BrushLabels></View>",
    }
    answer = service.post("/label-studio/predict", json=body).raise_for_status()
    (found,) = answer.json()["results"]
    regions = [
        {**each, "rle": each["value"]["rle"], "brushlabels": each["value"]["brushlabels"]}
        for each in found["result"]
    ]
    layers = brush.decode_from_annotation("b", regions)
    mask = np.zeros_like(truth)
    for name, layer in layers.items():
        mask[layer > 0] = {"b-cytoplasm-0": 1, "b-nucleus-0": 2}[name]
    same(mask, truth)


def test_in_monai_label(service, package, image, truth):
    name = ModelPackage.load(package).card.name
    params = {"params": json.dumps({"result_extension": ".tiff"})}
    files = {"file": ("image.tif", image.read_bytes())}
    answer = service.post(f"/infer/{name}?output=image", data=params, files=files)
    same(tifffile.imread(io.BytesIO(answer.raise_for_status().content)), truth)


ZOO = """
import sys, numpy as np
from bioimageio.core import create_prediction_pipeline, test_model
from bioimageio.core.digest_spec import create_sample_for_model
from bioimageio.spec import load_model_description
raw = np.load(sys.argv[2])
model = load_model_description(sys.argv[1])
for weights in ("onnx", "torchscript"):
    summary = test_model(model, weight_format=weights)
    assert summary.status == "passed", summary.format()
    sample = create_sample_for_model(model, inputs={"patches": raw})
    whole = {"skip_input_padding": True, "skip_output_cropping": True}
    with create_prediction_pipeline(model, weight_format=weights) as pipeline:
        found = pipeline.predict_sample_without_blocking(sample, **whole)
    np.save(f"{sys.argv[3]}/{weights}.npy", np.asarray(found.members["logits"].data))
"""


@pytest.mark.long  # another environment is installed
@pytest.mark.network
def test_in_the_programs_of_the_bioimage_model_zoo(package, image, truth, tmp_path):
    pins = ROOT / "tests" / "training" / "interchange" / "bioimageio.txt"
    zoo = installed_apart(tmp_path / "zoo", pins)
    ran([sys.executable, "-m", "training.export", package, "-o", tmp_path / "out",
         "--to", "bioimageio"])  # fmt: skip
    raw = tifffile.imread(image).astype(np.float32)[np.newaxis, np.newaxis]
    np.save(tmp_path / "raw.npy", raw)
    command = [sys.executable, "-c", ZOO, tmp_path / "out" / "rdf.yaml", tmp_path / "raw.npy"]
    ran([*command, tmp_path], PYTHONPATH=zoo, HOME=tmp_path)
    for weights in ("onnx", "torchscript"):
        same(np.load(tmp_path / f"{weights}.npy").argmax(axis=1), truth)


def test_from_the_hub(package, image, truth, tmp_path):
    assert export([str(package), "-o", str(tmp_path / "hub"), "--to", "huggingface"]) == 0
    rules = ModelPackage.load(tmp_path / "hub" / "package").card.input.preprocessing
    prepared = normalise(tifffile.imread(image)[np.newaxis], rules.normalisation)[np.newaxis]
    session = onnxruntime.InferenceSession(tmp_path / "hub" / "onnx" / "model.onnx")
    logits = session.run(["logits"], {session.get_inputs()[0].name: prepared})[0]
    same(logits.argmax(axis=1), truth)


def test_in_imagej(service, image, truth, tmp_path):
    jar = Path("/usr/share/java/ij.jar")
    if not (shutil.which("xvfb-run") and shutil.which("java") and jar.is_file()):
        pytest.skip("no ImageJ here: apt-get install imagej xvfb")
    script = printed("Fiji and ImageJ").replace(ADDRESS, address_of(service))
    filled = FILLED.replace("FOUND", str(tmp_path / "found.tif"))
    (tmp_path / "macro.ijm").write_text(f'open("{image}");\n{script}{filled}')
    java = ["java", f"-Djava.io.tmpdir={tmp_path}", "-cp", jar, "ij.ImageJ", "-batch"]
    ran(["xvfb-run", "-a", *java, tmp_path / "macro.ijm"], HOME=tmp_path)
    same(tifffile.imread(tmp_path / "found.tif"), truth)


def test_in_qupaths_language(service, image, truth, tmp_path):
    if not (shutil.which("groovy") and shutil.which("java")):
        pytest.skip("no Groovy here: apt-get install groovy")
    script = printed("QuPath").replace(ADDRESS, address_of(service))
    lines = script.splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = [line for line in lines if line not in imports]
    (tmp_path / "script.groovy").write_text("\n".join([*imports, STAND_INS, *rest]))
    java = Path(shutil.which("java")).resolve().parents[1]
    found = tmp_path / "found.geojson"
    ran(["groovy", tmp_path / "script.groovy"], IMAGE=image, FOUND=found, JAVA_HOME=java)
    mask = np.zeros_like(truth)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for feature in json.loads(found.read_text())["features"]:
        inside = shapely.contains_xy(shapely.geometry.shape(feature["geometry"]), columns, rows)
        name = feature["properties"]["classification"]["name"]
        mask[inside] = ["background", "cytoplasm", "nucleus"].index(name)
    same(mask, truth)


def test_in_napari(service, image, truth, tmp_path):
    python = os.environ.get("SEG_NAPARI", "")
    if not python or not shutil.which("xvfb-run"):
        pytest.skip("SEG_NAPARI names no Python that has napari, or there is no xvfb-run")
    script = printed("napari").replace(ADDRESS, address_of(service)).replace("cell.tif", str(image))
    before = "import napari\nnapari.run = lambda: None\n"
    after = f"""
import numpy as np
np.save({str(tmp_path / "objects.npy")!r}, viewer.layers["objects"].data)
"""
    (tmp_path / "script.py").write_text(before + script + after)
    run = ["xvfb-run", "-a", python, tmp_path / "script.py"]
    ran(run, QT_QPA_PLATFORM="offscreen", PYTHONPATH="", HOME=tmp_path)
    same(np.load(tmp_path / "objects.npy") > 0, truth > 0)

import ast
import base64
import hashlib
import io
import json
import re

import numpy as np
import PIL.Image
import pytest
import tifffile

from seg.files import sha256_of
from service.page.document import FILES, language_of, tables
from tests.service.conftest import ROOT, png
from tests.service.routes.test_errors import problem

SHIPPED = ("niivue/", "fflate/")
"""What others have written."""
SPOKEN_BY_SERVICE = ("warning_", "refused_")
"""In English the service's own sentences are shown."""
NAMES = [path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()]


def test_the_page_runs_its_own_scripts_and_asks_nobody_else(client):
    answer = client.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"\sstyle=|\son\w+=|https?://", answer.text)
    inside = re.findall(r"<(style|script)>(.*?)</\1>", answer.text, re.DOTALL)
    assert [kind for kind, _ in inside] == ["script", "style", "style"]
    for kind, content in inside:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        (rules,) = (rule for rule in policy.split("; ") if rule.startswith(f"{kind}-src"))
        assert f"'sha256-{digest}'" in rules


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de-AT,de;q=0.9,en;q=0.8", "de"), ("en;q=0.5,de;q=0.6", "de"), ("fr,en;q=0.1", "en"),
     ("", "en"), ("*;q=?", "en"), ("../de", "en"), ("de;q=0", "en"), ("en;q=.1,DE;q=.2", "de")],
)  # fmt: skip
def test_a_document_speaks_the_language_that_is_wanted_most_before_any_script_runs(
    client, accepted, language
):
    assert language_of(accepted) == language
    answer = client.get("/", headers={"Accept-Language": accepted})
    assert answer.headers["Content-Language"] == language
    assert "Accept-Language" in answer.headers["Vary"]
    texts = tables()[language]
    for said in (texts["emptyTitle"], f'aria-label="{texts["choose"]}"', texts["languageName"]):
        assert said in answer.text
    assert not re.search(r'data-text="\w+"[^>]*></', answer.text)
    again = {"Accept-Language": accepted, "If-None-Match": answer.headers["ETag"]}
    assert client.get("/", headers=again).status_code == 304
    other = {**again, "Accept-Language": "de" if language == "en" else "en"}
    assert client.get("/", headers=other).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_served_and_kept_by_its_tag(client, name):
    answer = client.get(f"/page/{name}")
    if not name.endswith(".html"):  # those are sent with their texts
        assert answer.content == (FILES / name).read_bytes()
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    plain = client.get(f"/page/{name}", headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content
    tag = {"If-None-Match": answer.headers["ETag"]}
    again = client.get(f"/page/{name}", headers=tag)
    assert again.status_code == 304
    assert not again.content


@pytest.mark.parametrize(
    ("header", "said", "status", "coding"),
    [
        ("If-None-Match", '"x", {tag}', 304, None),
        ("If-None-Match", "{strong}", 304, None),  # a proxy unpacked it
        ("If-None-Match", "*", 304, None),
        ("If-None-Match", '"x"', 200, "gzip"),
        ("Accept-Encoding", "br, gzip;q=0.5", 200, "gzip"),
        ("Accept-Encoding", "gzip;q=0, *", 200, None),
        ("Accept-Encoding", "notgzip", 200, None),
        ("Accept-Encoding", "*", 200, "gzip"),
    ],
)
def test_a_file_is_sent_as_its_client_asks_for_it(client, header, said, status, coding):
    tag = client.get("/page/icon.svg").headers["ETag"]
    said = said.format(tag=tag, strong=tag.removeprefix("W/"))
    answer = client.get("/page/icon.svg", headers={header: said})
    assert (answer.status_code, answer.headers.get("Content-Encoding")) == (status, coding)


def test_all_that_the_page_names_is_there(client):
    index = client.get("/").text
    named = re.findall(r'(?:src|href)="([^"#]+)"', index)
    for name in NAMES:
        if name.endswith(".js") and not name.startswith(SHIPPED):
            folder = (FILES / name).parent
            for path in re.findall(
                r'(?:from|import\(|MODULE =)\s*"(\.{1,2}/.+?)"', (FILES / name).read_text()
            ):
                file = (folder / path).resolve().relative_to(FILES.resolve())
                named.append(f"page/{file.as_posix()}")
    assert len(named) > 10
    for path in named:
        assert client.get(f"/{path}").status_code == 200, path


def test_what_is_seen_first_waits_for_no_other_file_and_all_else_is_asked_for_at_once(client):
    def imported(name):
        for path in re.findall(r'^import [^;]*?"(\.{1,2}/.+?)"', (FILES / name).read_text(), re.M):
            file = (FILES / name).parent.joinpath(path).resolve()
            yield file.relative_to(FILES.resolve()).as_posix()

    def needed_by(name):
        needed, found = [name], {name}
        while needed:
            new = set(imported(needed.pop())) - found
            found |= new
            needed += new
        return found

    seen, _, rest = client.get("/").text.partition('<template id="later">')
    later, _, rest = rest.partition("</template>")
    named = r'(?:"modulepreload" href|"module" src)="page/(.+?)"'
    assert not re.search(r'rel="stylesheet"|<script src', seen)
    first = needed_by("boot.js")
    assert sorted(re.findall(named, seen)) == sorted(first)
    assert sorted(re.findall(named, later)) == sorted(needed_by("main.js") - first)
    assert "page/" not in re.sub(r'href="page/niivue/[A-Z-]+"', "", rest)


def test_files_beside_the_page_are_not_served(client):
    for path in ("/page/", "/page/../routes.py", "/page/%2e%2e/routes.py", "/page/nothing.js"):
        problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("library", "package"), [("niivue", "@niivue/niivue"), ("fflate", "fflate")]
)
def test_a_library_is_what_its_origin_says(library, package):
    origin = json.loads((FILES / library / "origin.json").read_text())
    assert origin["name"] == package
    assert sha256_of(FILES / library / f"{library}.js") == origin["sha256"]


def test_every_language_says_all_that_the_page_says():
    def keys(path):
        return re.findall(r'^  "?([\w-]+)"?:', path.read_text(), re.M)

    texts = {path.stem: keys(path) for path in (FILES / "texts").glob("*.js")}
    assert len(texts) >= 2
    for table in texts.values():
        assert [key for key in table if not key.startswith(SPOKEN_BY_SERVICE)] == texts["en"]
    said = set(texts["en"])
    for path in FILES.glob("*.html"):
        assert set(re.findall(r'data-(?:text|label|hint)="(\w+)"', path.read_text())) <= said
    for name in NAMES:
        if name.endswith(".js") and not name.startswith((*SHIPPED, "texts/")):
            named = set(re.findall(r'\bt\("(\w+)"', (FILES / name).read_text()))
            assert {key for key in named if not key.startswith(SPOKEN_BY_SERVICE)} <= said, name


def test_every_warning_that_has_a_code_is_said_in_every_language():
    codes = {}
    for file in [*(ROOT / "seg").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Sentence":
                filled = {each.arg for each in node.keywords}
                codes |= dict.fromkeys(codes_in(node.args[1]), filled)
    assert len(codes) > 20
    for language, texts in tables().items():
        if language == "en":
            continue
        said = {key.removeprefix("warning_"): text for key, text in texts.items()
                if key.startswith("warning_")}  # fmt: skip
        assert said.keys() == codes.keys() | {"where", "risk"}
        for code, filled in codes.items():
            known = filled | {"where" for _ in filled & {"channel"}}
            assert set(re.findall(r"\{(\w+)\}", said[code])) <= known | {
                "risk" for _ in filled & {"sided"}
            }


def codes_in(node):
    """The codes that an expression may be: what is chosen from, or filled in."""
    if isinstance(node, ast.JoinedStr):
        return [f"other_size_{unit}" for unit in ("mm", "pixels", "voxels")]
    if isinstance(node, ast.IfExp):
        return [node.body.value, node.orelse.value]
    return [node.value] if isinstance(node, ast.Constant) else []  # else one that is made again


def test_every_text_is_said_somewhere():
    own = [name for name in NAMES if not name.startswith((*SHIPPED, "texts/"))]
    page = " ".join((FILES / n).read_text() for n in own if n.endswith((".js", ".html")))
    made = ("about_", "answered_", "cardRank_", "trust")  # with what the service names
    made += ("languageName",)  # read by the service
    made += ("studioTool_", "studioHint_", "studioTraining_")
    texts = re.findall(r'^  "?([\w-]+)"?:', (FILES / "texts/en.js").read_text(), re.M)
    assert [t for t in texts if not t.startswith(made) and not re.search(rf"\b{t}\b", page)] == []


def test_the_numbers_of_a_picture_are_those_of_the_image(client):
    file = io.BytesIO()
    deep = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    tifffile.imwrite(file, deep)
    answer = client.post("/picture?as=npy", content=file.getvalue())
    assert answer.headers["Content-Type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), deep[np.newaxis])
    problem(client.post("/picture?as=numbers", content=file.getvalue()), 422)


def test_a_picture_is_grey_as_an_overlay_is_and_as_large_as_the_image(client):
    file = io.BytesIO()
    deep = np.tile(np.linspace(0, 60_000, 90, dtype=np.uint16), (40, 1))
    tifffile.imwrite(file, deep)
    answer = client.post("/picture", content=file.getvalue())
    assert answer.headers["Content-Type"] == "image/png"
    picture = np.asarray(PIL.Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (40, 90, 3)
    assert picture.min() == 0
    assert picture.max() == 255
    assert (np.diff(picture[0, :, 0].astype(int)) >= 0).all()


def test_of_a_picture_too_large_for_a_screen_one_of_two_pixels_is_shown(client):
    wide = np.zeros((4, 4098), np.uint8)
    wide[:, ::2] = 255
    answer = client.post("/picture", content=png(wide))
    picture = np.asarray(PIL.Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (2, 2049, 3)


def test_a_picture_of_what_is_none_is_a_problem(client):
    problem(client.post("/picture", content=b"hello"), 415)
    problem(client.post("/picture"), 422)

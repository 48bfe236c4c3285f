"""Models that come, are pinned, tried and rolled back over HTTP."""

import io
import os
import shutil
import time
import zipfile
from collections import Counter
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

import service.models.memory
from seg.errors import PackageError
from seg.model_package import read_card, write_card
from service.app import create_app
from service.models.arrival import folder_name
from service.models.folder import GONE, STALE_S, UNPROVEN, remove_leftovers
from service.models.registry import ModelRegistry
from service.requests.folder_room import bytes_in
from tests.service.conftest import png, serving, started, until
from tests.service.models.test_models import add, answered_by
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)


@pytest.fixture
def root(tmp_path, tiny_package):
    folder = tmp_path / "models"
    folder.mkdir()
    add(folder, tiny_package, "1")
    return folder


@pytest.fixture
def client(root, monkeypatch):
    """A service over a folder of models; it looks at the folder seldom.

    What is put is not run in a process of its own, which costs a second each time: that is
    test_trial's, and the server's below.
    """
    monkeypatch.setattr("service.routes.model_changes.try_out", lambda *_, **__: None)
    with started(models=root, models_poll_s=60) as registry:
        yield TestClient(create_app(registry))


@pytest.fixture
def packed(tmp_path, tiny_package):
    """A package of some version as a ZIP file."""

    def pack(version, name="cells", *, broken=False, inside="") -> bytes:
        folder = tmp_path / f"made-{name}-{version}"
        folder.mkdir()
        made = add(folder, tiny_package, version, name, broken=broken)
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for file in made.iterdir():
                archive.write(file, f"{inside}{file.name}")
        shutil.rmtree(folder)
        return body.getvalue()

    return pack


def left_in(root) -> set[str]:
    return {path.name for path in root.iterdir()} - {".rules.json", ".rules.lock"}


def test_a_model_that_is_put_is_live_once_it_is_proven(client, packed):
    answer = client.put("/models/cells", content=packed("2", inside="package/"))
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/models/cells/versions/2"
    assert client.get(answer.headers["Location"]).json()["runtime"]["state"] == "proven"
    assert answer.json()["latest"] == "2"
    assert answered_by(client) == "cells:2"
    assert client.put("/models/lungs", content=packed("1", "lungs")).status_code == 201
    assert answered_by(client, model="lungs") == "lungs:1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("version", version) for version in ("", "..", "1/2", " ", "5\n", "latest", "5" * 200)),
        *(("name", name) for name in ("cells:1", "a\nb", "\x1b[31m", "\u202ex", " ", "x" * 200)),
    ],
)
def test_what_can_stand_in_no_address_is_refused(client, tiny_package, root, field, value):
    made = add(root.parent, tiny_package, "x")
    card = read_card(made).model_copy(update={field: value})
    write_card(made, card)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for file in made.iterdir():
            archive.write(file, file.name)
    refused = client.put(f"/models/{quote(card.name, safe='')}", content=body.getvalue())
    assert "no slash" in problem(refused, 422)


def test_a_model_that_disagrees_with_its_golden_samples_leaves_nothing_behind(client, packed, root):
    before = left_in(root)
    refused = client.put("/models/cells?share=0.5", content=packed("2", broken=True))
    assert "disagrees" in problem(refused, 422)
    assert left_in(root) == before
    entry = client.get("/models/cells").json()
    assert [v["version"] for v in entry["versions"]] == ["1"]
    assert entry["candidate"] is None
    assert answered_by(client) == "cells:1"


def test_what_a_process_that_died_left_of_packages_goes_after_a_day(packed, client, root):
    left = [root / name for name in (".arriving-x", ".cells-2.gone", ".team", "dead")]
    for folder in left:
        folder.mkdir()
    (root / "dead" / UNPROVEN).touch()
    remove_leftovers(root)
    assert all(folder.exists() for folder in left)  # a process may be at it
    for folder in left:
        os.utime(folder, (0, time.time() - STALE_S - 1))
    with started(models=root):
        pass
    assert [folder.name for folder in left if folder.exists()] == [".team"]
    client.put("/models/cells", content=packed("2"))
    (root / f".cells-1{GONE}" / "half").mkdir(parents=True)  # of a process that was ended over it
    assert client.delete("/models/cells/versions/1").status_code == 204


def test_what_was_left_of_packages_goes_without_a_restart_too(root, monkeypatch):
    monkeypatch.setattr("service.models.registry.TIDY_S", 0)
    with started(models=root, models_poll_s=0.02):
        left = root / ".arriving-x"
        left.mkdir()
        os.utime(left, (0, time.time() - STALE_S - 1))
        until(lambda: not left.exists())


def test_a_package_over_which_a_process_died_is_left_to_nobody_else(client, packed, root):
    client.put("/models/cells", content=packed("2"))
    taken = root / folder_name("cells", "2")
    assert not (taken / UNPROVEN).exists()
    (taken / UNPROVEN).touch()  # as it lay there while it was proven
    with started(models=root) as registry:
        assert [each.label for each in registry.versions()] == ["cells:1"]
        again = TestClient(create_app(registry)).put("/models/cells", content=packed("2"))
        assert "send it as another version" in problem(again, 409)


def test_nobody_takes_a_package_up_before_it_is_proven(client, packed, root, monkeypatch):
    seen = []
    load = service.models.memory.load_model

    def and_look(folder, *others):
        seen.append((folder / UNPROVEN).exists())
        return load(folder, *others)

    monkeypatch.setattr("service.models.memory.load_model", and_look)
    assert client.put("/models/cells", content=packed("2")).status_code == 201
    assert seen == [True]


def zipped(**files) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return body.getvalue()


def damaged(content: bytes) -> bytes:
    """Its first file's name is followed by what zlib cannot read."""
    at = content.index(b"model.json") + len("model.json")
    return content[:at] + b"\xff\xff" + content[at + 2 :]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "no ZIP file", id="nothing"),
        pytest.param(b"PK\x03\x04 cut off", "no ZIP file", id="cut off"),
        pytest.param(zipped(readme="x"), "no model.json", id="no package"),
        pytest.param(zipped(**{"model.json": "{"}), "model.json", id="no card"),
        pytest.param(zipped(**{"model.json": "[" * 99_999}), "model.json", id="depth"),
        pytest.param(zipped(**{"model.json": "9" * 9999}), "model.json", id="digits"),
        pytest.param(damaged(zipped(**{"model.json": "x" * 999})), "no ZIP file", id="damaged"),
        pytest.param(
            zipped(**{"..__..__evil": "x", "model.json": "{}"}), "one folder", id="traversal"
        ),
        pytest.param(zipped(**{"__tmp__evil": "x"}), "one folder", id="absolute"),
        pytest.param(zipped(**{"a__b__model.json": "{}"}), "one folder", id="deep"),
        pytest.param(zipped(**{".hidden": "x", "model.json": "{}"}), "one folder", id="hidden"),
        pytest.param(
            zipped(**{f"f{n}": "" for n in range(65)}), "at most 64 files", id="many files"
        ),
    ],
)
def test_what_is_no_package_is_refused_in_a_sentence(client, root, body, words):
    before = left_in(root)
    assert words in problem(client.put("/models/cells", content=body), 422)
    assert left_in(root) == before


def test_a_package_may_not_grow_beyond_its_limit(root, tiny_package):
    with started(models=root, max_model_mb=1) as registry:
        client = TestClient(create_app(registry))
        bomb = zipped(**{"model.json": "{}", "network.onnx": bytes(2_000_000)})
        assert len(bomb) < 10_000
        assert "SEG_MAX_MODEL_MB" in problem(client.put("/models/cells", content=bomb), 422)


def test_models_take_no_more_than_the_folder_may_hold(root, packed, monkeypatch):
    monkeypatch.setattr("service.routes.model_changes.try_out", lambda *_, **__: None)
    lying = bytes_in(root)
    mb = 1.5 * lying / 1e6
    with started(models=root, max_models_mb=mb, models_poll_s=60) as registry:
        client, before = TestClient(create_app(registry)), left_in(root)
        answer = client.put("/models/cells", content=packed("2"))
        assert "raise SEG_MAX_MODELS_MB" in problem(answer, 507)
        assert left_in(root) == before


def test_a_version_is_never_replaced_and_a_name_is_that_of_the_card(client, packed):
    assert "already" in problem(client.put("/models/cells", content=packed("1")), 409)
    assert "of model 'lungs'" in problem(
        client.put("/models/cells", content=packed("3", "lungs")), 422
    )


def test_a_pinned_version_answers_until_it_is_let_go(client, packed):
    client.put("/models/cells", content=packed("2"))
    entry = client.patch("/models/cells", json={"pinned": "1"}).json()
    assert (entry["pinned"], entry["latest"]) == ("1", "1")
    assert answered_by(client) == "cells:1"
    assert answered_by(client, model="cells:2") == "cells:2"
    client.put("/models/cells", content=packed("3"))
    assert answered_by(client) == "cells:1", "a new version does not undo a pin"
    assert 'seg_model_latest{model="cells",version="1"} 1.0' in client.get("/metrics").text
    client.patch("/models/cells", json={"pinned": None})
    assert answered_by(client) == "cells:3"


def test_a_rollback_pins_the_version_before(client, packed):
    client.put("/models/cells", content=packed("2"))
    client.put("/models/cells", content=packed("3"))
    assert client.post("/models/cells/rollback").json()["pinned"] == "2"
    assert client.post("/models/cells/rollback").json()["pinned"] == "1"
    assert "no earlier version" in problem(client.post("/models/cells/rollback"), 409)
    assert answered_by(client) == "cells:1"


def test_a_candidate_answers_its_share_and_no_more(client, packed):
    entry = client.put("/models/cells?share=0.25", content=packed("2")).json()
    assert (entry["candidate"], entry["share"], entry["latest"]) == ("2", 0.25, "1")
    answers = Counter(answered_by(client) for _ in range(200))
    assert set(answers) == {"cells:1", "cells:2"}
    assert 15 <= answers["cells:2"] <= 85, "1 run in 10 million is outside"
    client.patch("/models/cells", json={"share": 0})
    assert {answered_by(client) for _ in range(20)} == {"cells:1"}
    client.patch("/models/cells", json={"candidate": None})
    assert answered_by(client) == "cells:2", "promoted: the highest that is proven"


def test_a_candidate_goes_live_by_nobody_s_naming_another(client, packed):
    client.put("/models/cells?share=0", content=packed("2"))
    refused = client.put("/models/cells?share=0.5", content=packed("3"))
    assert "version 2 is the candidate still" in problem(refused, 409)
    assert {answered_by(client) for _ in range(20)} == {"cells:1"}
    client.patch("/models/cells", json={"pinned": "1"})
    third = client.put("/models/cells?share=0", content=packed("3")).json()
    assert (third["candidate"], third["latest"]) == ("3", "1")


def test_a_candidate_that_is_not_there_leaves_its_share_to_the_others_and_this_is_told(
    client, packed, root
):
    """As a process leaves it that is killed while it proves a candidate."""
    client.put("/models/cells?share=1", content=packed("2"))
    (root / folder_name("cells", "2") / UNPROVEN).touch()
    with started(models=root) as registry:
        again = TestClient(create_app(registry))
        assert {answered_by(again) for _ in range(5)} == {"cells:1"}
        assert "the candidate 2 is not proven here" in again.get("/models/cells").json()["reason"]
        shutil.rmtree(root / folder_name("cells", "2"))
        entry = again.put("/models/cells", content=packed("2")).json()
        assert (entry["candidate"], entry["reason"], entry["latest"]) == (None, None, "2")


def test_a_candidate_that_is_the_highest_leaves_the_others_their_version_after_a_restart(
    client, packed, root
):
    client.put("/models/cells", content=packed("2"))
    client.put("/models/cells?share=0.5", content=packed("3"))
    with started(models=root) as registry:
        again = TestClient(create_app(registry))
        assert {answered_by(again) for _ in range(30)} == {"cells:2", "cells:3"}


def test_the_version_beside_a_candidate_is_proven_when_it_is_to_answer(packed, root, tiny_package):
    add(root, tiny_package, "2")
    with started(models=root) as registry:
        client = TestClient(create_app(registry))
        changed = client.patch("/models/cells", json={"candidate": "2", "share": 0})
        assert changed.json()["latest"] == "1"
        assert answered_by(client) == "cells:1"


@pytest.mark.parametrize("error", [OSError(28, "no space"), PackageError("it is none")])
def test_a_candidate_that_cannot_be_taken_in_leaves_no_rule(client, packed, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(ModelRegistry, "adopt", fail)
    assert client.put("/models/cells?share=0.5", content=packed("2")).status_code in (503, 422)
    assert client.get("/models/cells").json()["candidate"] is None


def test_a_candidate_needs_a_version_beside_it_that_answers_the_others(client, packed, root):
    refused = client.put("/models/lungs?share=0.5", content=packed("1", "lungs"))
    assert "another version of lungs" in problem(refused, 409)
    alone = client.patch("/models/cells", json={"candidate": "1", "share": 0.5})
    assert "another version of cells" in problem(alone, 409)
    client.put("/models/cells?share=0", content=packed("2"))
    shutil.rmtree(root / "cells-1")
    with started(models=root) as registry:
        answer = TestClient(create_app(registry)).post("/segment", content=IMAGE)
        assert "no other version" in problem(answer, 503)


def test_a_rule_outlasts_the_process(client, packed, root):
    client.put("/models/cells", content=packed("2"))
    client.patch("/models/cells", json={"pinned": "1"})
    with started(models=root) as registry:
        assert registry.choose().label == "cells:1"


def test_a_pinned_version_that_is_gone_is_not_answered_by_another(client, packed, root):
    client.put("/models/cells", content=packed("2"))
    client.patch("/models/cells", json={"pinned": "1"})
    shutil.rmtree(root / "cells-1")
    with started(models=root) as registry:
        answer = TestClient(create_app(registry)).post("/segment", content=IMAGE)
        assert "pinned to version 1" in problem(answer, 503)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "a rule has pinned"),
        (b"{}", 422, "nothing is changed"),
        (b'{"version": "1"}', 422, "version"),
        (b'{"pinned": "9"}', 404, "no version"),
        (b'{"share": 0.5}', 422, "candidate"),
        (b'{"candidate": "1", "share": 2}', 422, "share"),
        (b'{"candidate": "1", "pinned": "1"}', 422, "pinned version itself"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(client, body, status, words):
    assert words in problem(client.patch("/models/cells", content=body), status)


def test_a_version_that_answers_is_not_deleted_and_others_are(client, packed, root):
    client.put("/models/cells", content=packed("2"))
    assert "answers requests" in problem(client.delete("/models/cells/versions/2"), 409)
    assert client.delete("/models/cells/versions/1").status_code == 204
    assert [v["version"] for v in client.get("/models/cells").json()["versions"]] == ["2"]
    assert left_in(root) == {folder_name("cells", "2")}


def test_where_there_is_one_package_models_are_not_taken_in(tiny_package):
    with started(package=tiny_package) as registry:
        client = TestClient(create_app(registry))
        assert "SEG_MODELS" in problem(client.put("/models/cells", content=b"x"), 409)


def test_a_server_takes_a_model_in_while_it_answers_and_wants_the_scope(tmp_path, root, packed):
    from service.middleware.key_file import new_key, write_keys

    admin, user = new_key("it", ["admin"]), new_key("ward", ["segment"])
    write_keys(tmp_path / "keys.json", [admin[0], user[0]])
    settings = {
        "SEG_PACKAGE": "",
        "SEG_MODELS": str(root),
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(tmp_path / "keys.json"),
    }
    with serving(tmp_path, tmp_path, **settings) as client:
        client.headers["Authorization"] = f"Bearer {user[1]}"
        body = packed("2")
        for method, path in (
            ("PUT", "/models/cells"),
            ("PATCH", "/models/cells"),
            ("POST", "/models/cells/rollback"),
            ("DELETE", "/models/cells/versions/1"),
        ):
            refused = client.request(method, path, content=body)
            needed = "promote" if path.endswith("rollback") else "admin"
            assert f"scope {needed}" in problem(refused, 403)
        client.headers["Authorization"] = f"Bearer {admin[1]}"
        assert client.put("/models/cells", content=body).status_code == 201
        assert answered_by(client) == "cells:2"


def test_a_version_that_lies_in_two_folders_is_pinned_as_the_one_that_answers(root):
    shutil.copytree(root / "cells-1", root / "copied")
    with started(models=root, models_poll_s=60) as registry:
        client = TestClient(create_app(registry))
        assert client.patch("/models/cells", json={"pinned": "1"}).status_code == 200
        assert answered_by(client) == "cells:1"

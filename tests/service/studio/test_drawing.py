"""What is drawn in the studio is a dataset, and nothing that anybody drew is lost."""

import gzip
import io
import json
import math
import os
from itertools import pairwise

import anyio
import httpx
import numpy as np
import pytest
import tifffile
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from seg.images import Image, Mask, encode_mask, read_mask, write_image
from seg.images.grid.classes import ClassInfo
from service.app import create_app
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.requests.folder_room import BLOCK, on_disk
from service.settings import Settings
from service.studio.bodies import BYTES_EACH
from service.studio.drawn import UNKNOWN
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.revisions import read_record, write_record
from service.studio.on_disk.studio_folder import StudioFolder
from tests.instances import cells
from tests.service.conftest import png
from tests.service.studio.conftest import SIZE, label, named, put
from training.dataset import load_dataset
from training.dataset.legend import IGNORE

NUCLEUS = ClassInfo(index=1, name="nucleus", color=(1, 2, 3))


def drawn(number):
    return cells(number, SIZE, 6)[1]


def test_outlines_become_a_dataset_in_which_the_rest_is_ignored(studio, folder):
    assert named(studio, "nucleus").status_code == 201
    for number, name in enumerate("abc"):
        numbers = drawn(number).astype(np.uint16)
        numbers[:, 30:] = UNKNOWN
        assert put(studio, name, numbers, state="done").status_code == 200
        back, _ = label(studio, name)
        np.testing.assert_array_equal(back, numbers)
    dataset = load_dataset(folder)
    assert [info.name for info in dataset.classes] == ["background", "nucleus"]
    assert len(dataset.train) == 2
    assert len(dataset.test) == 1
    for case in dataset.cases:
        image, mask = dataset.read(case)
        numbers = drawn("abc".index(case.name))
        assert (mask.array[:, 30:] == IGNORE).all()
        objects = dataset.read_objects(case, image, mask)
        assert len(np.unique(objects[objects > 0])) == len(np.unique(numbers[:, :30])) - 1


def test_a_draft_is_kept_and_no_training_sees_it(studio, folder):
    named(studio, "nucleus")
    assert put(studio, "a", drawn(0), sitting="mine").json()["state"] == "draft"
    assert not (folder / "masks").exists()
    np.testing.assert_array_equal(label(studio, "a")[0], drawn(0))
    sent = {"label": ("label.bin.gz", gzip.compress(drawn(1).astype("<u2").tobytes()))}
    told = {"params": json.dumps({"sitting": "mine"})}
    studio.put("/studio/images/a/label", files=sent, data=told, headers={"If-Match": '"1"'})
    np.testing.assert_array_equal(label(studio, "a")[0], drawn(1))
    about = studio.get("/studio/images/a").json()
    assert [each["revision"] for each in about["revisions"]] == [2], "of one sitting"
    more = {"package": "cells:1", "seconds": 31, "sitting": "mine"}
    put(studio, "a", drawn(2), on=2, state="done", **more)
    versions = studio.get("/studio/images/a").json()["revisions"]
    assert [(v["revision"], v["state"]) for v in versions] == [(3, "done")]
    assert (versions[0]["package"], versions[0]["seconds"]) == ("cells:1", 31)
    assert read_mask(folder / "masks" / "a.tif").array.max() == drawn(2).max()


def test_what_is_drawn_after_done_is_told_from_what_is_trained_on(studio):
    def standing():
        keys = ("done", "trained_on", "changed")
        (listed,) = (e for e in studio.get("/studio/images").json()["images"] if e["id"] == "a")
        about = studio.get("/studio/images/a").json()
        assert [listed[key] for key in keys] == [about[key] for key in keys]
        return tuple(about[key] for key in keys)

    def of(name):
        return {str(number): name for number in range(1, drawn(1).max() + 1)}

    named(studio, "nucleus", "dirt")
    assert standing() == (False, None, False)
    put(studio, "a", drawn(0), state="done", objects=of("nucleus"))
    assert standing() == (True, 1, False)
    draft = put(studio, "a", drawn(1), on=1, sitting="mine", objects=of("nucleus")).json()
    assert (draft["changed"], draft["trained_on"]) == (True, 1)
    assert standing() == (True, 1, True)
    put(studio, "a", drawn(0), on=2, sitting="mine", objects=of("nucleus"))
    assert standing() == (True, 1, False), "drawn back to what is trained on"
    put(studio, "a", drawn(0), on=3, sitting="mine", objects=of("dirt"))
    assert standing() == (True, 1, True), "objects of another class"
    put(studio, "a", drawn(0), on=4, state="done", objects=of("dirt"))
    assert standing() == (True, 5, False)


@pytest.mark.parametrize("sittings", [("", ""), ("mine", "theirs"), ("mine", "")])
def test_a_draft_of_somebody_else_stays_a_version(studio, sittings):
    named(studio, "nucleus")
    for on, sitting in enumerate(sittings):
        put(studio, "a", drawn(on), on=on, sitting=sitting)
    versions = studio.get("/studio/images/a").json()["revisions"]
    assert [each["revision"] for each in versions] == [1, 2]
    np.testing.assert_array_equal(label(studio, "a", 1)[0], drawn(0))


def test_whoever_drew_on_an_older_version_is_told_and_loses_nothing(studio, folder):
    named(studio, "nucleus")
    put(studio, "a", drawn(0), state="done")
    late = put(studio, "a", drawn(1), on=0, state="done")
    assert late.status_code == 412
    assert late.headers["ETag"] == '"1"'
    assert "yours is not saved" in late.json()["detail"]
    assert put(studio, "a", drawn(1), on=None).status_code == 428
    put(studio, "a", drawn(1), on=1, state="done")
    np.testing.assert_array_equal(label(studio, "a", 1)[0], drawn(0))
    assert "unannotated: left out" in (folder / "dataset.yaml").read_text()
    back = studio.post("/studio/images/a/restore?revision=1", headers={"If-Match": '"2"'})
    assert back.json()["revision"] == 3
    np.testing.assert_array_equal(label(studio, "a")[0], drawn(0))
    assert studio.get("/studio/images/a/label?revision=9").status_code == 404


def test_what_was_drawn_on_an_image_is_not_saved_on_another_in_its_place(studio, folder):
    named(studio, "nucleus")
    content = studio.get("/studio/images/a").json()["content"]
    assert put(studio, "a", drawn(0), content=content).status_code == 200
    (folder / "images" / "b.tif").replace(folder / "images" / "a.tif")
    late = put(studio, "a", drawn(1), on=1, state="done", content=content)
    assert late.status_code == 409
    assert "replaced by another one" in late.json()["detail"]
    about = studio.get("/studio/images/a").json()
    assert about["replaced"]
    assert about["content"] != content
    put(studio, "a", drawn(1), on=1, content=about["content"])
    assert not studio.get("/studio/images/a").json()["replaced"]


def test_a_version_that_is_a_digit_and_no_number_is_none(studio):
    named(studio, "nucleus")
    put(studio, "a", drawn(0))

    async def restored(version):
        transport = httpx.ASGITransport(studio.app)  # sends bytes as they are
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(
                "/studio/images/a/restore?revision=1", headers={b"If-Match": version}
            )

    assert anyio.run(restored, "²".encode("latin-1")).status_code == 412
    assert anyio.run(restored, b'"1"').status_code == 200


def test_the_folder_takes_no_more_than_it_may(folder):
    (folder / ".studio" / "training" / "x").mkdir(parents=True)
    (folder / ".studio" / "training" / "x" / "case.npy").write_bytes(bytes(1_000_000))
    lying = sum(on_disk(path.stat().st_size) for path in (folder / "images").iterdir())
    store = StudioFolder(folder, lying + 7 * BLOCK)  # a training has a bound of its own
    store.begin([{"name": "nucleus"}], are_objects=True)  # takes two blocks
    with pytest.raises(HTTPException, match="SEG_MAX_STUDIO_MB") as refused:
        store.add("d", ".tif", io.BytesIO(bytes(6 * BLOCK)))
    assert refused.value.status_code == 507
    assert set(store.images()) == {"a", "b", "c"}
    for number in range(2):
        store.add(f"e{number}", ".tif", io.BytesIO(bytes(number + 1)))
    with pytest.raises(HTTPException, match="SEG_MAX_STUDIO_MB"):  # a byte takes a block as well
        store.add("e2", ".tif", io.BytesIO(bytes(3)))


def test_versions_of_a_drawing_take_room_too(folder):
    lying = sum(on_disk(path.stat().st_size) for path in (folder / "images").iterdir())
    store = StudioFolder(folder, lying + 12 * BLOCK)
    store.begin([{"name": "nucleus"}], are_objects=True)
    mask = DrawnMask(content=bytes(1500), ending=".tif", objects={})
    store.keep("a", mask, Author(), state="draft")
    with pytest.raises(HTTPException, match="SEG_MAX_STUDIO_MB"):
        store.keep("a", mask, Author(), state="draft")
    assert store.record("a").number == 1


def test_a_held_back_image_stays_held_back_however_many_follow(folder):
    store = StudioFolder(folder)
    store.begin([{"name": "nucleus"}], are_objects=True)
    image = tifffile.imread(folder / "images" / "a.tif")
    mask = DrawnMask(content=(folder / "images" / "a.tif").read_bytes(), ending=".tif", objects={})
    test_names = []
    for number in range(12):
        tifffile.imwrite(folder / "images" / f"n{number}.tif", image)
        store.keep(f"n{number}", mask, Author())
        test_names.append({case.name for case in load_dataset(folder).test} if number else set())
    assert all(before <= after for before, after in pairwise(test_names))
    assert [len(names) for names in test_names] == [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    store.remove("n1")
    assert "n1" not in {case.name for case in load_dataset(folder).cases}


def test_an_image_whose_mask_is_taken_away_comes_back_to_its_side(folder):
    store = StudioFolder(folder)
    store.begin([{"name": "nucleus"}], are_objects=True)
    image = tifffile.imread(folder / "images" / "a.tif")
    mask = DrawnMask(content=(folder / "images" / "a.tif").read_bytes(), ending=".tif", objects={})
    names = [f"n{number}" for number in range(6)]
    for name in names:
        tifffile.imwrite(folder / "images" / f"{name}.tif", image)
        store.keep(name, mask, Author())
    (test,) = before = {case.name for case in load_dataset(folder).test}
    store.remove_mask(test)
    for name in set(names) - before:  # while none is held back none of them may become it
        store.remove_mask(name)
        store.keep(name, mask, Author())
    store.keep(test, mask, Author())
    assert {case.name for case in load_dataset(folder).test} == before


def test_a_dataset_that_has_no_split_keeps_the_one_that_training_gave_it(folder):
    (folder / "masks").mkdir()
    (folder / "dataset.yaml").write_text(
        "# mine\nclasses: [background, cell]\nignore: 9\nunannotated: left out\n"
    )
    for name in "ab":
        tifffile.imwrite(folder / "masks" / f"{name}.tif", (drawn(0) > 0).astype(np.uint8))
    before = {case.name for case in load_dataset(folder).test}
    store = StudioFolder(folder)
    content = (folder / "masks" / "a.tif").read_bytes()
    store.keep("c", DrawnMask(content=content, ending=".tif", objects={}), Author())
    assert {case.name for case in load_dataset(folder).test} == before
    text = (folder / "dataset.yaml").read_text()
    assert text.startswith("# mine\n")
    assert yaml.safe_load(text)["split"] == {"test": "held-back.txt"}


def test_what_a_killed_process_began_the_next_one_finishes(studio, folder):
    named(studio, "nucleus")
    put(studio, "a", drawn(0), state="done")
    put(studio, "a", drawn(1), on=1, state="done")
    # as it is between the record and the dataset's mask
    record_file = folder / ".studio" / "records" / "a.json"
    write_record(record_file, read_record(record_file).model_copy(update={"applied": 1}))
    old = (folder / ".studio" / "versions" / "a" / "000001.tif").read_bytes()
    (folder / "masks" / "a.tif").write_bytes(old)
    (told, *_) = studio.get("/studio/images").json()["images"]
    assert (told["id"], told["done"], told["revision"]) == ("a", True, 2)
    assert StudioFolder(folder).record("a").applied == 2
    np.testing.assert_array_equal(read_mask(folder / "masks" / "a.tif").array, drawn(1))


def test_parts_of_files_that_a_killed_process_left_are_removed(folder):
    store = StudioFolder(folder)
    store.begin([{"name": "nucleus"}], are_objects=False)
    content = (folder / "images" / "a.tif").read_bytes()
    left = [folder / "images" / ".b.tif.abcd_123", folder / "masks" / ".a.tif.00000000"]
    for part in left:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(content)
        os.utime(part, (0, 0))
    store.add("new", ".tif", io.BytesIO(content))
    store.keep("a", DrawnMask(content=content, ending=".tif", objects={}), Author())
    assert not any(part.exists() for part in left)


def test_a_mask_that_somebody_put_into_the_folder_is_a_version_too(studio, folder):
    named(studio, "nucleus")
    put(studio, "a", drawn(0), state="done")
    tifffile.imwrite(folder / "masks" / "a.tif", drawn(1))
    assert put(studio, "a", drawn(2), on=1, state="done").status_code == 412
    put(studio, "a", drawn(2), on=2, state="done")
    sources = [v["source"] for v in studio.get("/studio/images/a").json()["revisions"]]
    assert sources == ["studio", "outside", "studio"]
    np.testing.assert_array_equal(label(studio, "a", 2)[0], drawn(1))


def test_objects_of_several_classes_have_their_classes_in_a_table(studio, folder):
    named(studio, "nucleus", "debris")
    numbers = drawn(0)
    objects = {int(n): ("debris" if n == 1 else "nucleus") for n in np.unique(numbers) if n}
    refused = put(studio, "a", numbers, state="done", objects={"1": "debris"})
    assert refused.status_code == 422
    for name in "abc":
        put(studio, name, numbers, state="done", objects=objects)
    studio.delete("/studio/images/c")
    assert "\nc," not in (folder / "objects.csv").read_text()
    assert json.loads(label(studio, "a")[1]["X-Objects"]) == {str(k): v for k, v in objects.items()}
    dataset = load_dataset(folder)
    _, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array == 2, numbers == 1)
    table = folder / "objects.csv"
    table.write_text(table.read_text().replace("nucleus", "debris"))
    tifffile.imwrite(folder / "masks" / "a.tif", (numbers > 0).astype(np.uint8) * numbers)
    assert put(studio, "a", numbers, on=2, state="done", objects=objects).status_code == 200
    all_debris = dict.fromkeys(map(str, objects), "debris")
    assert json.loads(label(studio, "a", 2)[1]["X-Objects"]) == all_debris, "as the table was then"
    studio.post("/studio/images/a/restore?revision=2", headers={"If-Match": '"3"'})
    assert json.loads(label(studio, "a")[1]["X-Objects"]) == all_debris
    table.write_text(table.read_text().replace("debris", "nucleus"))
    assert "debris" not in label(studio, "a")[1]["X-Objects"], "the dataset's own table counts"


def test_an_object_that_has_the_number_of_what_is_ignored_gets_another(studio, folder):
    (folder / "dataset.yaml").write_text(
        "classes: [background, nucleus]\nmasks: instances\nignore: 2\nunannotated: left out\n"
    )
    numbers = np.zeros(SIZE, np.uint16)
    numbers[5:9, 5:9], numbers[20:25, 5:9], numbers[30:] = 1, 2, UNKNOWN
    assert put(studio, "a", numbers, state="done").status_code == 200
    back, _ = label(studio, "a")
    np.testing.assert_array_equal(back == UNKNOWN, numbers == UNKNOWN)
    assert set(np.unique(back)) == {0, 1, 3, UNKNOWN}
    np.testing.assert_array_equal(back == 3, numbers == 2)


def test_classes_by_value_keep_their_values_and_what_nobody_annotated(studio, folder):
    (folder / "dataset.yaml").write_text(
        "classes:\n- {name: background, value: 0}\n- {name: vessel, value: 200}\nignore: 7\n"
    )
    numbers = (drawn(0) > 0).astype(np.uint16)
    numbers[:5] = UNKNOWN
    put(studio, "a", numbers, state="done")
    stored = read_mask(folder / "masks" / "a.tif").array
    assert set(np.unique(stored)) == {0, 7, 200}
    np.testing.assert_array_equal(label(studio, "a")[0], numbers)
    assert put(studio, "b", np.full(SIZE, 2)).status_code == 422


def test_polygons_of_qupath_land_in_the_same_folder(studio, folder):
    named(studio, "nucleus")

    apart = np.zeros(SIZE, np.uint8)
    apart[3:9, 3:9] = apart[20:30, 12:30] = 1
    sent = {"label": ("qupath.geojson", encode_mask(Mask(apart), "geojson", [NUCLEUS]))}
    told = {"params": json.dumps({"state": "done", "rest": "ignore"})}
    url, match = "/studio/images/a/label", {"If-Match": '"0"'}
    answer = studio.put(url, files=sent, data=told, headers=match)
    assert answer.json()["source"] == "geojson", answer.text
    numbers = label(studio, "a")[0]
    assert set(np.unique(numbers)) == {1, 2, UNKNOWN}
    np.testing.assert_array_equal(numbers != UNKNOWN, apart > 0)
    liver = NUCLEUS.model_copy(update={"name": "liver"})
    wrong = {"label": ("q.geojson", encode_mask(Mask(apart), "geojson", [liver]))}
    refused = studio.put(url, files=wrong, data=told, headers={"If-Match": '"1"'})
    assert "'liver' is no class here" in refused.json()["detail"]
    odd = {"params": json.dumps({"rest": "ignored"})}
    assert studio.put(url, files=sent, data=odd, headers={"If-Match": '"1"'}).status_code == 422
    square = [[2, 2], [20, 2], [20, 20], [2, 20]]
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for ring in ([[4, 4], [9, 4], [9, 9]], square)
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features})
    covered = {"label": ("q.geojson", content)}
    refused = studio.put(url, files=covered, data=told, headers={"If-Match": '"1"'})
    assert "the first is number 1" in refused.json()["detail"], refused.text


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\0" * 10, "10 bytes"), (b"\x1f\x8bnot", "damaged")],
    ids=["too short", "not packed"],
)
def test_a_damaged_label_map_is_refused_and_changes_nothing(studio, content, says):
    named(studio, "nucleus")
    name = "label.bin.gz" if content[:1] == b"\x1f" else "label.bin"
    answer = studio.put(
        "/studio/images/a/label", files={"label": (name, content)}, headers={"If-Match": '"0"'}
    )
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert studio.get("/studio/images/a").json()["revision"] == 0


def test_nothing_is_drawn_before_the_classes_have_names(studio):
    assert "name the classes first" in put(studio, "a", drawn(0)).json()["detail"]
    assert named(studio, "background").status_code == 422
    named(studio, "nucleus")
    assert named(studio, "other").status_code == 409
    assert studio.get("/studio/dataset").json()["classes"][1]["name"] == "nucleus"


def test_a_slice_is_shown_as_a_screen_shows_it(studio, folder):
    answer = studio.get("/studio/images/a/slice")
    assert answer.headers["X-Slice-Size"] == f"{SIZE[1]},{SIZE[0]}"
    shown = np.frombuffer(answer.content, np.uint8).reshape(SIZE)
    assert (shown.min(), shown.max()) == (0, 255)
    assert studio.get("/studio/images/a/slice?z=1").status_code == 422
    assert studio.get("/studio/images/none/slice").status_code == 404


def test_all_that_the_studio_answers_is_described(studio):
    document = studio.get("/openapi.json").json()
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())
    assert not errors, errors[0]
    paths = document["paths"]
    assert {"get", "put", "delete"} <= set(paths["/studio/images/{id}"])
    put_label = paths["/studio/images/{id}/label"]["put"]
    assert {"412", "428"} <= set(put_label["responses"])
    assert "`annotate`" in put_label["description"]
    assert "`promote`" in paths["/studio/proposal"]["post"]["description"]
    assert "`admin`" in paths["/studio/images/{id}"]["delete"]["description"]
    of_studio = {path: of for path, of in paths.items() if path.startswith("/studio")}
    assert all(
        operation["summary"] != path for path, of in of_studio.items() for operation in of.values()
    )


def test_an_image_comes_and_another_in_its_place_is_refused(studio, folder):
    other = (folder / "images" / "b.tif").read_bytes()
    tifffile.imwrite(folder / "new.tif", np.eye(40, dtype=np.uint8))
    content = (folder / "new.tif").read_bytes()
    for name, sent, status in (
        *(("d", content, 201), ("d", content, 200), ("d", other, 409)),
        *(("e/f", content, 404), ("e", content, 409), ("e", b"none", 415), ("e", b"", 422)),
    ):
        answer = studio.put(f"/studio/images/{name}", files={"file": ("x.tif", sent)})
        assert answer.status_code == status, answer.text
    assert len(studio.get("/studio/images").json()["images"]) == 4
    assert studio.delete("/studio/images/d").status_code == 204
    assert len(studio.get("/studio/images").json()["images"]) == 3


def test_a_volume_is_drawn_on_too(folder, studio):
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(1, 4, 5, 6)
    write_image(folder / "images" / "v.nii.gz", Image(array, (3.0, 2.0, 2.0), affine))
    named(studio, "organ", objects=False)
    numbers = np.zeros((4, 5, 6), np.uint16)
    numbers[1] = 1
    numbers[3] = UNKNOWN
    assert put(studio, "v", numbers, state="done").status_code == 200
    kept = read_mask(folder / "masks" / "v.nii.gz")
    assert (kept.array[1] == 1).all()
    assert (kept.array[3] == 255).all()
    np.testing.assert_allclose(kept.affine, affine)
    assert studio.get("/studio/images/v/slice?z=3").status_code == 200


@pytest.mark.parametrize("name", ["a.ome", "d_0001.ome"])
def test_a_file_that_would_be_a_channel_of_another_image_is_not_taken(studio, folder, name):
    sent = {"file": ("x.tif", (folder / "images" / "b.tif").read_bytes())}
    refused = studio.put(f"/studio/images/{name}", files=sent)
    assert refused.status_code == 422
    assert "is a file of the image" in refused.json()["detail"]
    assert studio.get("/studio/images/a").json()["channels"] == 1
    assert len(studio.get("/studio/images").json()["images"]) == 3


def test_label_maps_have_their_share_of_the_room_for_decoding(folder, tmp_path):
    (tmp_path / "models").mkdir()
    too_little = BYTES_EACH * math.prod(SIZE) / 2e6
    settings = Settings(models=tmp_path / "models", studio=folder, max_decoding_mb=too_little)
    registry = ModelRegistry(settings, Metrics())
    try:
        studio = TestClient(create_app(registry))
        named(studio, "nucleus")
        sent = folder / "images" / "a.png"
        (folder / "images" / "a.tif").unlink()
        sent.write_bytes(png(np.zeros(SIZE, np.uint8)))  # a small one takes none of it
        refused = put(studio, "a", np.zeros(SIZE))
        assert (refused.status_code, "SEG_MAX_DECODING_MB" in refused.text) == (413, True)
    finally:
        registry.close()

"""The studio in a real browser: drawn, undone, saved, found again, learned from, gone back from."""

import csv
import io
import json
import os
import shutil
import signal
import zipfile

import nibabel
import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from seg.images import read_mask
from seg.model_package import read_card, write_card
from service.studio.drawn import UNKNOWN
from tests.packages import write_package
from tests.service.conftest import served, until, until_status
from tests.service.page.conftest import browser, open_page  # noqa: F401
from tests.service.studio.hands import drag, see, spot

SIZE = (64, 80)


@pytest.fixture
def place(tmp_path):
    """Two pictures, a model, and the settings of a studio over them."""
    images = tmp_path / "drawn" / "images"
    images.mkdir(parents=True)
    for name in ("a", "b"):
        image = np.zeros(SIZE, np.uint8)
        image[10:24, 10:24] = image[40:56, 50:66] = 204
        tifffile.imwrite(images / f"{name}.tif", image)
    write_package(tmp_path / "models" / "first", objects=True)
    return tmp_path


def started(place, port=None):
    settings = {
        "SEG_STUDIO": str(place / "drawn"),
        "SEG_MODELS": str(place / "models"),
        "SEG_TRAIN_MINUTES": "1",
        "SEG_PROVIDER": "cpu",
    }
    return served(place / "models" / "first", place / "log.txt", port=port, **settings)


def numbers_in(client, image, revision=0):
    answer = client.get(f"/studio/images/{image}/label?revision={revision}")
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<u2").reshape(SIZE)


def test_drawing_lives_through_a_killed_service_and_a_new_model_comes_and_goes(place, open_page):  # noqa: F811
    with started(place) as client:
        port = client.base_url.port
        until_status(client, "/readyz", 200)
        page = open_page(str(client.base_url), "/studio", ready=False)
        page.fill("#class-names", "cell")
        page.click("#begin button")
        expect(page.locator("#canvas")).to_have_attribute("data-image", "a")
        assert not Axe().run(page).response["violations"]
        drag(page, (12, 12), (20, 20))
        expect(page.locator("#count")).to_have_text("1 object")
        drag(page, (54, 45), (60, 50))
        page.keyboard.press("Control+z")
        expect(page.locator("#count")).to_have_text("1 object")
        page.keyboard.press("Control+y")
        expect(page.locator("#count")).to_have_text("2 objects")
        expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
        drawn = numbers_in(client, "a")
        assert drawn[16, 16] == 1
        assert drawn[47, 57] == 2
        assert drawn[30, 30] == UNKNOWN
        os.killpg(int(client.headers["X-Test-Server"]), signal.SIGKILL)
    page.keyboard.press("p")
    page.keyboard.press("Enter")  # shows the cursor, and is no corner
    for corner in ((30, 4), (44, 4), (44, 16), (30, 16)):
        page.mouse.click(*spot(page, *corner))
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_have_text("3 objects")
    expect(page.locator("#saved")).to_have_attribute("data-state", "unsaved")
    with started(place, port) as client:
        until_status(client, "/readyz", 200)
        expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
        drawn = numbers_in(client, "a")
        assert drawn[10, 36] == 3, "what was drawn while nobody listened"
        assert not (drawn[18:] == 3).any()
        page.keyboard.press("a")
        drag(page, (0, 0), (79, 30))
        page.keyboard.press("d")
        expect(page.locator("#saved")).to_contain_text("Done")
        kept = read_mask(place / "drawn" / "masks" / "a.tif").array
        assert kept[2, 2] == 0
        assert kept[60, 5] == UNKNOWN
        page.reload()
        expect(page.locator("#count")).to_have_text("3 objects")
        learned(page, place, client)


def learned(page, place, client):
    """A proposal is shown, answers when somebody agrees, and the one before comes back."""
    proposed = place / "drawn" / ".studio" / "proposal"
    shutil.copytree(place / "models" / "first", proposed / "package")
    card = read_card(proposed / "package")
    write_card(proposed / "package", card.model_copy(update={"version": "2"}))
    told = {"name": card.name, "before": "x", "after": "y", "package": "package", "cases": 3}
    told |= {"decision": "better", "says": "it finds more"}
    (proposed / "proposal.json").write_text(json.dumps(told))
    expect(page.locator("#proposal-says")).to_contain_text("it finds more")
    page.click("#accept")
    expect(page.locator("#model-line")).to_contain_text(f"{card.name}:2 answers")
    page.click("#back")
    expect(page.locator("#model-line")).to_contain_text(f"{card.name}:1 answers")
    shutil.copy(place / "drawn" / "images" / "b.tif", place / "drawn" / "masks")
    page.click("#train")
    expect(page.locator("#training")).to_have_attribute("data-state", "RUNNING")
    page.click("#stop")
    expect(page.locator("#training")).to_have_attribute("data-state", "STOPPED")
    assert "a.tif" not in (place / "log.txt").read_text()


def test_objects_are_joined_split_taken_away_and_repaired(place, open_page):  # noqa: F811
    with started(place) as client:
        until_status(client, "/readyz", 200)
        client.put(
            "/studio/dataset", json={"classes": [{"name": "cytoplasm"}, {"name": "nucleus"}]}
        )
        page = open_page(str(client.base_url), "/studio", ready=False)
        expect(page.locator("#canvas")).to_have_attribute("data-image", "a")
        page.click("#suggest")
        expect(page.locator("#count")).not_to_have_text("0 objects")
        before = int(page.locator("#count").inner_text().split()[0])
        page.keyboard.press("l")
        drag(page, (58, 36), (58, 60))
        expect(page.locator("#count")).to_have_text(f"{before + 1} objects")
        page.keyboard.press("o")
        page.mouse.click(*spot(page, 53, 48))
        page.keyboard.down("Shift")
        page.mouse.click(*spot(page, 63, 48))
        page.keyboard.up("Shift")
        expect(page.locator("#count")).to_have_text(f"{before} objects")
        page.mouse.click(*spot(page, 17, 17))
        page.keyboard.press("Delete")
        expect(page.locator("#count")).to_have_text(f"{before - 1} objects")
        page.keyboard.press("t")
        page.mouse.click(*spot(page, 17, 17))
        expect(page.locator("#count")).to_have_text(f"{before} objects")
        expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
        assert (numbers_in(client, "a")[12:22, 12:22] > 0).mean() > 0.8
        told = client.get("/studio/images/a").json()["revisions"][-1]
        assert told["package"].startswith("nearest-level:")
        held = []
        page.route("**/a/suggestion", lambda route: held.append(route))
        with page.expect_request("**/a/suggestion"):
            page.click("#suggest")
        page.locator("#images button").nth(1).click()
        expect(page.locator("#canvas")).to_have_attribute("data-image", "b")
        with page.expect_response("**/a/suggestion"):
            held[0].continue_()
        expect(page.locator("#message")).to_have_text("")
        expect(page.locator("#count")).to_have_text("0 objects")
        assert client.get("/studio/images/b").json()["revision"] == 0, "that was of another image"
        page.route("**/images/a/label*", lambda route: route.abort())
        page.locator("#images button").nth(0).click()
        expect(page.locator("#message")).to_have_attribute("data-bad", "")
        with page.expect_request("**/b/suggestion"):
            page.click("#suggest")


def test_two_browsers_on_one_image_are_both_told_and_nothing_is_lost(place, open_page):  # noqa: F811
    with started(place) as client:
        until_status(client, "/readyz", 200)
        client.put("/studio/dataset", json={"classes": [{"name": "cell"}]})
        one, other = (open_page(str(client.base_url), "/studio", ready=False) for _ in range(2))
        for page in (one, other):
            expect(page.locator("#canvas")).to_have_attribute("data-image", "a")
        drag(one, (12, 12), (20, 20))
        expect(one.locator("#saved")).to_have_attribute("data-state", "saved")
        drag(other, (54, 45), (60, 50))
        expect(other.locator("#conflict")).to_be_visible()
        assert numbers_in(client, "a")[47, 57] == UNKNOWN, "the first one's is there still"
        other.click("#keep-mine")
        expect(other.locator("#conflict")).to_be_hidden()
        expect(other.locator("#saved")).to_have_attribute("data-state", "saved")
        drag(one, (30, 30), (36, 30))
        expect(one.locator("#conflict")).to_be_visible()
        revisions = client.get("/studio/images/a").json()["revisions"]
        assert [each["revision"] for each in revisions] == [1, 2]
        assert numbers_in(client, "a", 1)[16, 16] == 1, "a version of its own"
        drawn = numbers_in(client, "a")
        assert (drawn[47, 57], drawn[16, 16]) == (1, UNKNOWN)
        one.click("#take-theirs")
        expect(one.locator("#conflict")).to_be_hidden()
        expect(one.locator("#count")).to_have_text("1 object")
        one.locator("#versions button:visible").last.click()
        until(lambda: numbers_in(client, "a")[16, 16] == 1)
        expect(one.locator("#versions li")).to_have_count(3)
        one.keyboard.press("a")
        drag(one, (2, 2), (44, 36))
        expect(one.locator("#hint")).to_contain_text("Drag a box")
        drag(one, (2, 2), (75, 60))
        expect(one.locator("#hint")).to_contain_text("looks like what is outlined")
        file = io.BytesIO()
        tifffile.imwrite(file, np.ones(SIZE, np.uint8))
        sent = {"name": "img_0001.tif", "mimeType": "image/tiff", "buffer": file.getvalue()}
        one.set_input_files("#files", sent)
        expect(one.locator("#images button").last).to_have_text("img-0001")


def touch_screen(page):
    """Sends what a touch screen does; places are pixels of the image."""
    session = page.context.new_cdp_session(page)

    def fingers(kind, *places):
        points = [dict(zip("xy", spot(page, *place), strict=True)) for place in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return fingers


def test_a_volume_is_drawn_on_by_fingers_and_by_keys_in_the_frame_of_its_file(place, open_page):  # noqa: F811
    shutil.rmtree(place / "drawn" / "images")
    (place / "drawn" / "images").mkdir()
    affine = np.array([[0, -2, 0, 10], [0, 0, 3, 20], [1.5, 0, 0, -5], [0, 0, 0, 1.0]])
    source = np.arange(40 * 30 * 6, dtype=np.float32).reshape(40, 30, 6)
    nibabel.save(nibabel.Nifti1Image(source, affine), place / "drawn" / "images" / "v.nii.gz")
    folders = {"SEG_STUDIO": str(place / "drawn"), "SEG_MODELS": str(place / "none")}
    (place / "none").mkdir()
    with served("", place / "log.txt", **folders) as client:
        until_status(client, "/livez", 200)
        client.put("/studio/dataset", json={"classes": [{"name": "cell"}]})
        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        page = open_page(str(client.base_url), "/studio", ready=False, **phone)
        expect(page.locator("#canvas")).to_have_attribute("data-image", "v")
        depth, height, width = client.get("/studio/images/v").json()["shape"]
        expect(page.locator("#slice-number")).to_have_text(f"{depth // 2 + 1} / {depth}")
        page.locator("#size").fill("2")
        page.locator("#canvas").scroll_into_view_if_needed()
        fingers = touch_screen(page)
        fingers("touchStart", (4, 5))
        fingers("touchMove", (9, 5))
        fingers("touchEnd")
        expect(page.locator("#count")).to_have_text("1 object")
        before = page.locator("#canvas").get_attribute("data-view")
        fingers("touchStart", (12, 12))
        fingers("touchStart", (12, 12), (16, 16))
        fingers("touchMove", (10, 10), (20, 20))
        fingers("touchEnd")
        expect(page.locator("#canvas")).not_to_have_attribute("data-view", before)
        expect(page.locator("#count")).to_have_text("1 object")
        page.tap("#undo")
        expect(page.locator("#count")).to_have_text("0 objects")
        page.tap("#redo")
        page.focus("#canvas")
        page.keyboard.press("PageUp")
        expect(page.locator("#slice-number")).to_have_text(f"{depth // 2 + 2} / {depth}")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        page.keyboard.press("r")
        page.keyboard.press("d")
        expect(page.locator("#count")).to_have_text("2 objects")
        expect(page.locator("#saved")).to_contain_text("Done")
        assert not Axe().run(page).response["violations"]
        answer = client.get("/studio/images/v/label").content
        numbers = np.frombuffer(answer, "<u2").reshape(depth, height, width)
        assert numbers[depth // 2, 5, 6] == 1
        assert numbers[depth // 2 + 1, height // 2, width // 2 - 1] == 2
        assert numbers[0, 0, 0] == UNKNOWN
        mask = nibabel.load(place / "drawn" / "masks" / "v.nii.gz")
        np.testing.assert_allclose(mask.affine, affine)
        drawn = np.asarray(mask.dataobj) == 1
        shown = page.request.get(f"{client.base_url}/studio/images/v/slice?z={depth // 2}").body()
        brightest = np.frombuffer(shown, np.uint8).reshape(height, width)
        at = source[drawn].mean() / source.max()
        assert abs(brightest[numbers[depth // 2] == 1].mean() / 255 - at) < 0.02, "the same voxels"
        page.reload()
        expect(page.locator("#count")).to_have_text("2 objects")
        cut = page.evaluate("""async () => {
          const { LabelMap } = await import(new URL("label_map.js", document.querySelector(
            "script[src$='studio/main.js']").src).href);
          const map = new LabelMap([3, 2, 4], new Uint16Array(24).fill(7));
          map.begin();
          map.split(1, { x: 2, y: 0 }, { x: 2, y: 1 });
          return Array.from(map.numbers);
        }""")
        assert len({tuple(cut[at : at + 8]) for at in (0, 8, 16)}) == 1, "in each slice alike"
        assert sorted(set(cut)) == [7, 8]


def test_all_images_are_counted_as_they_are_drawn_and_the_rest_by_the_model(place, open_page):  # noqa: F811
    with started(place) as client:
        until_status(client, "/readyz", 200)
        named = [{"name": "nucleus"}]
        client.put("/studio/dataset", json={"classes": named, "objects": True})
        drawn = np.zeros(SIZE, "<u2")
        drawn[2:6, 2:6], drawn[30:40, 30:40], drawn[50:60, 60:70] = 1, 2, 3
        label = {"label": ("label.bin", drawn.tobytes())}
        client.put("/studio/images/a/label", files=label, headers={"If-Match": '"0"'})
        page = open_page(str(client.base_url), "/studio", ready=False)
        expect(page.locator("#table-images")).to_be_hidden()
        page.click("#measure")
        expect(page.locator("#counted")).to_contain_text("2 of 2 images are counted")
        rows = page.locator("#counts tbody tr")
        expect(rows.nth(0)).to_have_text("adrawn3")
        expect(rows.nth(1)).to_have_text("bby the model2")
        expect(page.locator("#counts tfoot")).to_contain_text("5")
        with page.expect_download() as download:
            page.click("#table-objects")
        lines = [*csv.DictReader(io.StringIO(download.value.path().read_text()))]
        assert [(line["image"], line["from"]) for line in lines] == [
            *[("a", "drawn")] * 3,
            *[("b", "model")] * 2,
        ]
        assert [line["area"] for line in lines[:3]] == ["16", "100", "100"]
        with page.expect_download() as download:
            page.click("#masks")
        with zipfile.ZipFile(download.value.path()) as archive:
            np.testing.assert_array_equal(
                tifffile.imread(io.BytesIO(archive.read("masks/a.tif"))), drawn
            )
            table = [*csv.DictReader(io.StringIO(archive.read("images.csv").decode()))]
        assert [(row["objects"], row["objects_drawn"]) for row in table] == [("3", "3"), ("2", "0")]
        assert not Axe().run(page).response["violations"]
        rows.nth(1).get_by_role("button").click()  # what is changed is counted anew
        expect(page.locator("#canvas")).to_have_attribute("data-image", "b")
        answer = client.get("/studio/images/b/objects", params={"format": "map"})
        theirs = np.frombuffer(answer.content, "<u2").reshape(SIZE)
        rim = (theirs > 0) & (np.roll(theirs, 1, 0) == 0) & (np.add(*np.indices(SIZE)) % 8 > 0)
        y, x = np.argwhere(rim)[0].tolist()  # between the lines of the hatch
        page.reload()
        expect(page.locator("#counted")).to_contain_text("2 of 2 images are counted")
        page.locator("#images button").nth(1).click()
        expect(page.locator("#canvas")).to_have_attribute("data-image", "b")
        see(page, x, y, colored=True)
        page.keyboard.press("c")
        see(page, x, y, colored=False)
        held = []
        page.route("**/objects?format=map", lambda route: held.append(route))
        with page.expect_request("**/objects?format=map"):
            page.keyboard.press("c")
        page.keyboard.press("c")
        with page.expect_response("**/objects?format=map"):
            held[0].continue_()  # what comes late shows nothing that is not wished any more
        page.unroute("**/objects?format=map")
        page.wait_for_timeout(300)
        see(page, x, y, colored=False)
        page.keyboard.press("c")
        see(page, x, y, colored=True)
        drag(page, (30, 30), (34, 34))
        expect(page.locator("#counted")).to_contain_text("b was changed since it was counted")
        expect(rows).to_have_count(1)

"""What a hand does by mistake, in a real browser: refused, asked about or told, and never lost."""

import nibabel
import numpy as np
import tifffile
from playwright.sync_api import expect

from seg.images import read_mask
from service.studio.drawn import UNKNOWN
from tests.service.conftest import served, until_status
from tests.service.page.conftest import browser, open_page  # noqa: F401
from tests.service.studio.hands import drag, spot
from tests.service.studio.test_page import numbers_in, place, started  # noqa: F401


def opened(client, open_page):  # noqa: F811
    """The page at the first image, where cells are told apart."""
    until_status(client, "/readyz", 200)
    client.put("/studio/dataset", json={"classes": [{"name": "cell"}]})
    page = open_page(str(client.base_url), "/studio", ready=False)
    expect(page.locator("#canvas")).to_have_attribute("data-image", "a")
    return page


def click(page, *places):
    for each in places:
        page.mouse.click(*spot(page, *each))


def test_what_was_undone_after_done_is_told_from_what_training_has(place, open_page):  # noqa: F811
    with started(place) as client:
        page = opened(client, open_page)
        row, since, count = (
            page.locator(each) for each in ("#images button >> nth=0", "#since", "#count")
        )
        expect(page.locator("#minutes")).to_have_attribute("max", "1")
        page.click("#train")
        expect(page.locator("#message")).to_contain_text("Nothing is done yet")
        page.keyboard.press("f")
        click(page, (16, 16))
        expect(page.locator("#hint")).to_contain_text("no closed outline")
        expect(count).to_have_text("0 objects")
        page.keyboard.press("p")
        click(page, (0, 0), (79, 0), (40, 20))
        page.keyboard.press("Backspace")
        page.keyboard.press("h")
        page.keyboard.press("d")
        expect(page.locator("#message")).to_contain_text("A polygon is begun")
        page.keyboard.press("p")
        click(page, (79, 63), (60, 63))
        page.keyboard.press("Control+z")
        click(page, (0, 63))
        page.keyboard.press("Enter")
        expect(count).to_have_text("1 object")
        page.keyboard.press("d")
        expect(page.locator("#message")).to_contain_text("covers nearly the whole picture")
        page.keyboard.press("d")
        expect(page.locator("#saved")).to_contain_text("Done")
        expect(row).to_have_text("a done")
        expect(since).to_be_empty()
        page.keyboard.press("Control+z")
        expect(row).to_have_text("a done, changed since")
        page.keyboard.press("Control+y")  # back to what was done
        expect(page.locator("#saved")).to_have_text("Done, version 1")
        expect(row).to_have_text("a done")
        page.keyboard.press("Control+z")
        expect(row).to_have_text("a done, changed since")
        page.reload()
        expect(row).to_have_text("a done, changed since")
        expect(since).to_contain_text("training uses version 1, not what is shown")
        asked = []
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.click("#train")
        assert "as they were then: a." in asked[0]
        assert client.get("/studio/train").json()["training"] is None
        drag(page, (12, 12), (20, 20))
        page.keyboard.press("r")
        page.keyboard.press("d")
        expect(row).to_have_text("a done")
        expect(since).to_be_empty()
        assert read_mask(place / "drawn" / "masks" / "a.tif").array[60, 5] == 0


def test_corners_near_each_other_are_corners_and_a_polygon_stays_in_its_slice(place, open_page):  # noqa: F811
    volume = np.zeros((4, 24, 32), np.float32)
    nibabel.save(nibabel.Nifti1Image(volume.T, np.eye(4)), place / "drawn/images/v.nii.gz")
    for name in "ab":
        (place / "drawn" / "images" / f"{name}.tif").unlink()
    (place / "none").mkdir()  # the model is of pictures
    folders = {"SEG_STUDIO": str(place / "drawn"), "SEG_MODELS": str(place / "none")}
    with served("", place / "log.txt", **folders) as client:
        until_status(client, "/livez", 200)
        client.put("/studio/dataset", json={"classes": [{"name": "cell"}]})
        page = open_page(str(client.base_url), "/studio", ready=False)
        expect(page.locator("#canvas")).to_have_attribute("data-image", "v")
        for _ in range(10):
            page.click("#zoom-out")
        page.keyboard.press("p")
        click(page, (4, 4), (8, 4), (8, 8), (4, 8))  # the last within six pixels of the first one
        page.keyboard.press("PageUp")
        click(page, (20, 20))
        expect(page.locator("#hint")).to_contain_text("begun in another slice")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text("1 object")
        page.keyboard.press("d")
        page.keyboard.press("d")
        expect(page.locator("#saved")).to_contain_text("Done")
        answer = client.get("/studio/images/v/label").content
        numbers = np.frombuffer(answer, "<u2").reshape(4, 24, 32) % UNKNOWN
        assert [int(each.sum()) >= 20 for each in numbers] == [0, 0, 1, 0], "not 15, a triangle"
        assert numbers[[0, 1, 3]].max() == 0


def test_a_drawing_that_met_another_s_is_offered_again_though_its_page_was_closed(place, open_page):  # noqa: F811
    with started(place) as client:
        one = opened(client, open_page)
        other = one.context.new_page()
        other.goto(one.url)
        expect(other.locator("#canvas")).to_have_attribute("data-image", "a")
        drag(one, (12, 12), (20, 20))
        expect(one.locator("#saved")).to_have_attribute("data-state", "saved")
        drag(other, (54, 45), (60, 50))
        expect(other.locator("#conflict")).to_be_visible()
        other.close()
        drag(one, (30, 30), (36, 30))
        expect(one.locator("#count")).to_have_text("2 objects")
        expect(one.locator("#saved")).to_have_attribute("data-state", "saved")
        again = one.context.new_page()
        again.goto(one.url)
        expect(again.locator("#count")).to_have_text("2 objects")
        expect(again.locator("#kept-drawings li")).to_have_count(1)
        expect(again.locator("#message")).to_have_text("")
        again.click("#kept-drawings button >> nth=0")
        expect(again.locator("#count")).to_have_text("1 object")
        expect(again.locator("#saved")).to_contain_text("Draft saved")
        drawn = numbers_in(client, "a")
        assert (drawn[47, 57], drawn[16, 16]) == (1, UNKNOWN)
        again.reload()
        expect(again.locator("#count")).to_have_text("1 object")
        expect(again.locator("#kept")).to_be_hidden()


def test_the_picture_stays_whole_and_what_is_waited_for_is_shown(place, open_page):  # noqa: F811
    other = place / "c.tif"
    tifffile.imwrite(other, np.eye(64, dtype=np.uint8))
    with started(place) as client:
        page = opened(client, open_page)
        canvas = page.locator("#canvas")
        before = canvas.get_attribute("data-view")
        page.set_viewport_size({"width": 500, "height": 700})
        expect(canvas).not_to_have_attribute("data-view", before)
        scale, left, _ = map(float, canvas.get_attribute("data-view").split())
        assert left >= 0
        assert left + 80 * scale <= canvas.evaluate("each => each.clientWidth") + 0.01
        held = []
        page.route("**/a/repair", lambda route: held.append(route))
        page.keyboard.press("t")
        canvas.scroll_into_view_if_needed()
        with page.expect_request("**/a/repair"):
            click(page, (16, 16))
        expect(page.locator("#busy")).to_be_visible()
        held[0].continue_()
        expect(page.locator("#busy")).to_be_hidden()
        expect(page.locator("#count")).to_have_text("1 object")
        page.keyboard.press("?")
        expect(page.locator("#sheet")).to_contain_text("to draw without a mouse")
        page.keyboard.press("Escape")
        expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
        page.set_input_files("#files", [other, other])
        expect(page.locator("#message")).to_have_text("1 added; already there: 1.")

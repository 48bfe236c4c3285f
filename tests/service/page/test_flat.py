import io
import re

import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from seg.model_package import read_card, write_card
from service.middleware.key_file import new_key, write_keys
from tests.packages import CLASSES, LEVELS, write_package
from tests.seg.images.dicom.files import content_of, slice_of
from tests.service.conftest import labels_of, png, serving, until
from tests.service.page.conftest import give, pixels_of, set_slider, until_done, until_still

BANDS = np.repeat((255 * np.array(LEVELS)).astype(np.uint8), 30)[np.newaxis].repeat(40, axis=0)
"""A picture of three bands, one of each class; (40, 90)."""
COLORS = np.array([entry.color for entry in CLASSES])


def picture_of(client, content: bytes):
    """The image as the service says that it looks, (y, x, 3)."""
    return labels_of(client.post("/picture", content=content).content).astype(int)


def blended(picture, labels, opacity, shown=(1, 2)):
    seen = np.isin(labels, shown)[..., np.newaxis]
    return np.where(seen, (1 - opacity) * picture + opacity * COLORS[labels], picture)


def assert_looks_like(page, expected) -> None:
    """Within what a canvas rounds."""
    pixels = pixels_of(page)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 2


def test_the_mask_that_the_service_gives_lies_over_the_image(client, page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    picture = picture_of(client, png(BANDS))
    labels = labels_of(client.post("/segment", content=png(BANDS)).content)
    assert set(labels.ravel()) == {0, 1, 2}
    assert_looks_like(page, blended(picture, labels, 0.5))
    set_slider(page, "#opacity", 100)
    assert_looks_like(page, blended(picture, labels, 1.0))
    set_slider(page, "#opacity", 0)
    assert_looks_like(page, picture)


def test_a_class_that_is_switched_off_is_not_drawn(client, page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    picture = picture_of(client, png(BANDS))
    labels = labels_of(client.post("/segment", content=png(BANDS)).content)
    page.get_by_role("checkbox", name="nucleus").uncheck()
    assert_looks_like(page, blended(picture, labels, 0.5, shown=[1]))
    page.get_by_role("checkbox", name="nucleus").check()
    assert_looks_like(page, blended(picture, labels, 0.5))


def test_the_divider_leaves_the_image_bare_on_its_right(client, page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    set_slider(page, "#split", 50)
    picture = picture_of(client, png(BANDS))
    labels = labels_of(client.post("/segment", content=png(BANDS)).content)
    masked = blended(picture, labels, 0.5)
    pixels = pixels_of(page)
    assert np.abs(pixels[:, :45] - masked[:, :45]).max() <= 2
    assert np.abs(pixels[:, 47:] - picture[:, 47:]).max() <= 2  # the divider itself lies between


@pytest.mark.parametrize("name", ["png", "nifti", "csv", "geojson"])
def test_a_download_is_what_the_service_answers(client, page, name):
    give(page, ("scan.of.me.png", png(BANDS)))
    until_done(page)
    page.locator("#download-menu summary").click()
    with page.expect_download() as started:
        page.get_by_role("button", name=f"Download {name}", exact=True).click()
    answer = client.post(f"/segment?format={name}", content=png(BANDS))
    assert started.value.path().read_bytes() == answer.content
    suffix = answer.headers["Content-Disposition"].partition('"mask')[2].rstrip('"')
    assert started.value.suggested_filename == f"scan_mask{suffix}"


def test_formats_that_fit_the_image_are_offered_and_no_others(client, page):
    give(
        page, ("scan.png", png(BANDS)), ("slice.dcm", content_of(slice_of(BANDS.astype(np.int16))))
    )
    until_done(page)
    page.locator("#download-menu summary").click()
    known = set(client.get("/model").json()["runtime"]["formats"])
    dicom = {name for name in known if name.startswith("dicom-")} | {"rtstruct"}
    of_objects = {name for name in known if name.startswith(("objects", "instances"))}
    maps = {"probabilities", "uncertainty", "disagreement"}
    variants = {name for name in known - maps if name.startswith(tuple(maps))}
    plain = known - dicom - of_objects - variants - {"geojson-mm"}
    assert set(page.locator("#downloads button").all_inner_texts()) == plain
    expect(page.locator("#download-best")).to_have_text("Download the mask (png)")
    hints = page.locator("#downloads .hint").all_inner_texts()
    assert all(hints), "each says which program opens it"
    page.get_by_role("button", name="slice.dcm").first.click()
    until_done(page, "slice.dcm")
    assert set(page.locator("#downloads button").all_inner_texts()) >= dicom
    expect(page.locator("#download-best")).to_have_text("Download the mask (dicom-seg)")


def test_the_table_has_the_sizes_that_the_service_counts(client, page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    summary = client.post("/segment?format=json", content=png(BANDS)).json()
    for entry in summary["classes"][1:]:
        row = page.locator("#measurements tbody tr").filter(has_text=entry["name"])
        expect(row).to_contain_text(f"{entry['pixels']:,}")


def test_an_image_whose_pixels_have_a_size_is_measured_in_mm2_by_one_segmentation(client, page):
    file = io.BytesIO()
    tifffile.imwrite(file, BANDS, resolution=(20, 20), resolutionunit="CENTIMETER")  # 0.5 mm
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
    give(page, ("scan.tif", file.getvalue()))
    until_done(page)
    summary = client.post("/segment?format=json", content=file.getvalue()).json()
    for entry in summary["classes"][1:]:
        row = page.locator("#measurements tbody tr").filter(has_text=entry["name"])
        expect(row).to_contain_text(f"{entry['area_mm2']:.4g}")
    assert [url.rpartition("/")[2] for url in asked if "/segment" in url] == ["segment"]


def test_objects_of_a_model_that_knows_classes_are_counted_where_somebody_asks(client, page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    page.get_by_role("button", name="Count objects one by one").click()
    summary = client.post("/segment?format=objects&split=true", content=png(BANDS)).json()
    expect(page.locator("#objects tbody tr")).to_have_count(len(summary["objects"]))
    expect(page.locator("#apart")).to_be_hidden()
    expect(page.locator("#bar")).to_be_visible()
    expect(page.locator("#measurements thead")).to_contain_text("Objects")


def test_what_no_browser_shows_is_shown_as_the_service_reads_it(client, page):
    deep = BANDS.astype(np.uint16)  # of 65,535: a browser would show black
    file = io.BytesIO()
    tifffile.imwrite(file, deep)
    for name, content in (
        ("deep.tif", file.getvalue()),
        ("slice.dcm", content_of(slice_of(BANDS.astype(np.int16)))),
    ):
        give(page, (name, content))
        until_done(page, name)
        set_slider(page, "#opacity", 0)
        assert_looks_like(page, picture_of(client, content))
        assert pixels_of(page).std() > 50


def test_an_error_is_said_in_the_words_of_the_service(client, page):
    text = b"Dear colleague, the scan is in the other mail."
    give(page, ("letter.txt", text))
    alert = page.get_by_role("alert")
    detail = client.post("/segment", content=text).json()["detail"]
    expect(alert).to_have_text(f"letter.txt: {detail[0].upper()}{detail[1:]}")
    expect(page.locator("#result")).to_be_hidden()
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    expect(alert).to_be_empty()


def test_a_download_that_is_refused_says_why_and_keeps_the_result(page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    page.locator("#download-menu summary").click()
    page.route("**/segment**", lambda route: route.abort())  # as where the service has gone
    page.get_by_role("button", name="Download npz").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.locator("#result")).to_be_visible()


def test_several_images_are_segmented_in_turn_and_each_can_be_looked_at(client, page):
    turned = BANDS.T.copy()
    give(page, ("one.png", png(BANDS)), ("broken.png", b"no image"), ("two.png", png(turned)))
    entries = page.locator("#queue li")
    expect(entries).to_have_count(3)
    expect(entries.nth(2)).to_contain_text("done")
    expect(entries.nth(1)).to_contain_text("failed")
    expect(entries.nth(0)).to_contain_text("done")
    page.get_by_role("button", name="two.png").first.click()
    until_done(page, "two.png")
    labels = labels_of(client.post("/segment", content=png(turned)).content)
    assert_looks_like(page, blended(picture_of(client, png(turned)), labels, 0.5))
    page.get_by_role("button", name="broken.png").first.click()
    expect(page.get_by_role("alert")).not_to_be_empty()


def test_a_file_that_is_dropped_is_segmented(page):
    data = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
            return data;
        }""",
        list(png(BANDS)),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    expect(page.locator("#status")).to_contain_text("dropped.png is there")


def test_a_keyboard_is_enough(client, page):
    page.on("filechooser", lambda chooser: None)  # Chromium is told now, not while Enter is pressed
    page.reload()
    expect(page.locator("#model-line")).to_contain_text("nearest-level")
    for _ in range(4):  # the way to the image, the model, and how the page looks come first
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "files":
            break
    with page.expect_file_chooser() as opened:
        page.keyboard.press("Enter")
    opened.value.set_files({"name": "scan.png", "mimeType": "", "buffer": png(BANDS)})
    until_done(page)
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(({ id, value, ariaLabel, textContent }) => id || ariaLabel || value || textContent)"
            "(document.activeElement)"
        )
        reached.append(focused)
        if focused == "download-best":
            break
    assert {"split", "mode", "beside", "Larger"} <= set(reached)
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "2":  # the second class
            break
    else:
        pytest.fail("the classes are not reached by keys")
    answer = client.post("/segment", content=png(BANDS))
    assert started.value.path().read_bytes() == answer.content


def test_the_picture_grows_and_fits_again_by_keys(page):
    give(page, ("scan.png", png(BANDS)))
    until_done(page)
    page.locator("#flat .stage").focus()
    before = until_still(page)
    page.keyboard.press("-")
    page.keyboard.press("-")
    smaller = until_still(page)
    assert float(smaller.split()[0]) < float(before.split()[0])
    page.keyboard.press("ArrowLeft")
    assert float(until_still(page).split()[1]) == float(smaller.split()[1]) + 60
    page.keyboard.press("0")
    assert until_still(page) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_in_the_way_of_anybody(client, open_page, scheme, width):
    page = open_page(
        str(client.base_url), color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    give(page, ("letter.txt", b"no image"), ("scan.png", png(BANDS)))
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert_accessible(page)
    page.get_by_role("button", name="scan.png").first.click()
    until_done(page)
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def assert_accessible(page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_service_that_asks_for_keys_gets_one_that_stays_in_the_tab(tmp_path, open_page):
    package = write_package(tmp_path / "package")
    keys = tmp_path / "keys.json"
    key, token = new_key("ward", ("segment",))
    write_keys(keys, [key])
    settings = {"SEG_KEYS": "required", "SEG_KEYS_FILE": str(keys)}
    with serving(package, tmp_path, **settings) as client:
        page = open_page(str(client.base_url), ready=False)
        expect(page.get_by_role("alert")).to_contain_text("asks for a key")
        page.get_by_label("API key").fill(token)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#model-line")).to_contain_text("nearest-level")
        give(page, ("scan.png", png(BANDS)))
        until_done(page)
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.evaluate("sessionStorage.setItem('seg-key', 'withdrawn')")
        give(page, ("a.png", png(BANDS)), ("b.png", png(BANDS)))
        expect(page.get_by_role("alert")).to_contain_text("key")  # and nothing has failed of it
        page.get_by_label("API key").fill(token)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#queue li[data-state=done]")).to_have_count(3)
        expect(page.locator("#key-choice")).to_be_hidden()


def test_the_model_that_is_chosen_answers(tmp_path, open_page):
    package = write_package(tmp_path / "package")
    other = write_package(tmp_path / "models" / "two")
    write_card(other, read_card(other).model_copy(update={"name": "another-level"}))
    settings = {"SEG_MODELS": str(tmp_path / "models"), "SEG_DEFAULT_MODEL": "nearest-level"}
    with serving(package, tmp_path, **settings) as client:
        for name in ("nearest-level", "another-level"):
            until(lambda name=name: client.get("/model", params={"model": name}).is_success)
        page = open_page(str(client.base_url))
        expect(page.get_by_label("Model", exact=True)).to_have_value("nearest-level")
        page.get_by_label("Model", exact=True).select_option("another-level")
        expect(page.locator("#model-line")).to_have_text("another-level version 1")
        with page.expect_response(lambda answer: "/segment" in answer.url) as answer:
            give(page, ("scan.png", png(BANDS)))
        assert answer.value.headers["x-segmentation-model"] == "another-level:1"
        until_done(page)


def test_of_an_image_larger_than_a_screen_the_part_that_is_looked_at_is_fetched_finely(page):
    stripes = np.zeros((48, 8192), np.uint8)
    stripes[:, 1::2] = 200  # every second pixel is black: what is shown of all has none of these
    give(page, ("slide.png", png(stripes)))
    until_done(page)
    until_still(page)
    middle = """canvas => {
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, height / 2, width, 1);
        return Array.from({ length: width }, (_, at) => data[4 * at]);
    }"""
    page.select_option("#mode", "off")
    assert max(page.locator("#flat canvas").evaluate(middle)) < 50
    with page.expect_response("**/picture?**region=**") as answered:
        page.get_by_role("button", name="1:1").click()
        for _ in range(3):
            page.get_by_role("button", name="Larger").click()
    region = re.search(r"region=([\d,]+)", answered.value.url.replace("%2C", ","))[1]
    _, top, width, height = map(int, region.split(","))
    assert (top, height) == (0, 48)
    assert width < 2048
    until(lambda: max(page.locator("#flat canvas").evaluate(middle)) > 250)
    seen = np.array(page.locator("#flat canvas").evaluate(middle))
    assert 0.4 < (seen > 128).mean() < 0.6


def test_a_model_that_is_not_ready_yet_is_waited_for_and_not_replaced(client, page):
    listing = client.get("/models").json()
    (ready,) = listing["models"]
    coming = ready | {"latest": None, "versions": [ready["versions"][0] | {"state": "found"}]}
    asked = []

    def models(route):
        asked.append(route.request.url)
        there = [ready | {"name": "another"}, coming] if len(asked) < 3 else [ready]
        route.fulfill(json=listing | {"models": there})

    page.route("**/models", models)
    page.reload()
    expect(page.locator("#status")).to_have_text("The model is asked for.")
    expect(page.locator("#model-line")).to_contain_text("nearest-level")
    assert len(asked) == 3
    expect(page.locator("#status")).to_be_empty()

"""How the page looks as a whole, and that no name is more than text to it."""

import io
import re
from urllib.parse import quote

import numpy as np
import PIL.Image
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from seg.model_package import CasePictures, add_pictured_cases, read_card, write_card
from tests.packages import write_package
from tests.service.conftest import png, serving, until_status
from tests.service.page.conftest import give, until_done, until_still
from tests.service.routes.test_objects import touching_nuclei

HOSTILE = 'nearest-level"><img src="x" onerror="document.title=1"> \u202e{name}'
"""A name that would be run, would turn what follows it, and would be filled in."""
FORMULA = "=1+cmd|' /C calc'!A0"
PHONE = {"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True}
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark", "reduced_motion": "reduce"},
    "contrast": {"contrast": "more"},
    "phone": {**PHONE, "locale": "de-DE"},
}
MANY = 104
BLOCKS = 16
"""A page is compared as so many mean colours along its longer edge: fonts differ by machine."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A client of a server with two models, of which one has nothing but hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    package = write_package(folder / "models" / "one", objects=True)
    card = read_card(package)
    names = [each.model_copy(update={"name": name}) for each, name in zip(
        card.classes, ("background", FORMULA, HOSTILE), strict=True)]  # fmt: skip
    rules = dict(zip((FORMULA, HOSTILE), card.instances.rules.values(), strict=True))
    instances = card.instances.model_copy(update={"rules": rules})
    new = {"name": HOSTILE, "classes": tuple(names), "instances": instances, "metrics": {}}
    write_card(package, card.model_copy(update={**new, "licence": HOSTILE}))
    drawn = io.BytesIO()
    PIL.Image.fromarray(touching_nuclei()).save(drawn, "WEBP")
    ranks = (("best", 0.93), ("worst", 0.41))
    pictures = [CasePictures(rank, dice, *[drawn.getvalue()] * 3) for rank, dice in ranks]
    add_pictured_cases(package, pictures)
    other = write_package(folder / "models" / "two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.packages.LEVELS", tuple(np.linspace(0, 1, MANY + 1)))
        named = [{"index": n, "name": f"class_{n}", "color": (n, 9, 9)} for n in range(MANY + 1)]
        many = write_package(folder / "models" / "many", classes=named)
    write_card(many, read_card(many).model_copy(update={"name": "many"}))
    settings = {"SEG_MODELS": str(folder / "models"), "SEG_DEFAULT_MODEL": HOSTILE}
    with serving(other, folder, **settings) as client:
        until_status(client, f"/model?model={quote(HOSTILE)}", 200)
        yield client


def blocks_of(page) -> np.ndarray:
    """The window as mean colours of a coarse grid, (y, x, 3)."""
    until_still(page)
    picture = PIL.Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    step = max(picture.size) // BLOCKS
    size = tuple(round(edge / step) for edge in picture.size)
    return np.asarray(picture.resize(size, PIL.Image.Resampling.BOX)).astype(int)


@pytest.mark.parametrize("look", LOOKS)
def test_the_whole_page_looks_as_it_did(hostile, open_page, look, request):
    page = open_page(str(hostile.base_url), **LOOKS[look])
    give(page, ("nuclei.png", png(touching_nuclei())))
    until_done(page) if look != "phone" else expect(page.locator("#status")).to_contain_text(
        "ist da"
    )
    page.evaluate("document.activeElement.blur()")
    kept = request.path.parent / "looks" / f"{look}.png"
    seen = blocks_of(page)
    if not kept.exists():  # delete a picture to take it anew, and look at what is taken
        kept.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(seen.astype(np.uint8)).save(kept)
    expected = np.asarray(PIL.Image.open(kept)).astype(int)
    assert seen.shape == expected.shape
    differs = np.abs(seen - expected).max(axis=-1)
    assert np.mean(differs > 24) < 0.04, "look at it; where it is meant, take the picture anew"
    assert not Axe().run(page).response["violations"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_are_text_wherever_they_come(hostile, open_page):
    page = open_page(str(hostile.base_url))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    give(
        page,
        (f"{FORMULA}{HOSTILE}.png", png(touching_nuclei())),
        ("b.png", png(touching_nuclei().T)),
    )
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    until_done(page)
    expect(page.locator("#model-line")).to_have_text(f"{HOSTILE} version 1")
    for where in ("#classes", "#measurements", "#objects tbody"):
        expect(page.locator(where)).to_contain_text(HOSTILE)
    with page.expect_download() as started:
        page.get_by_role("button", name="Table of all").click()
    lines = started.value.path().read_text()
    assert not re.search(r'(^|,)"?[=+@-](?![\d.]+[,\r])', lines, re.MULTILINE)
    assert f"\"'{FORMULA}" in lines
    page.locator("#queue .case").first.click()
    with page.expect_download() as started:
        page.locator("#download-best").click()
    assert not set(started.value.suggested_filename) & set('<>:"|?*\u202e/\\')
    page.select_option("#language", "de")
    page.get_by_role("link", name="Über dieses Modell").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{HOSTILE} 1")
    expect(page.locator("#licence")).to_have_text(HOSTILE)
    expect(page.locator("#cases img")).to_have_count(6)
    expect(page.get_by_role("heading", name="Schlechtestes Testbild, Dice 0,410")).to_be_visible()
    assert page.locator("#cases img").first.evaluate("({ naturalWidth }) => naturalWidth") == 72
    assert not Axe().run(page).response["violations"]
    page.go_back()
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    assert not [url for url in asked if url.endswith("/x")], "a name was taken for HTML"
    assert page.title() not in ("1", 1)


def test_many_classes_are_searched_in_all_lists_and_the_image_stays_where_it_is(hostile, open_page):
    page = open_page(str(hostile.base_url), "/?model=many", ready=False)
    expect(page.locator("#model-line")).to_have_text("many version 1")
    held = []
    page.route("**/segment?**", lambda route: held.append(route))
    with page.expect_request("**/segment?**"):
        give(page, ("ramp.png", png(np.arange(128, dtype=np.uint8)[np.newaxis].repeat(40, 0))))
    stage = page.locator("#flat .stage")
    expect(page.locator("#progress")).to_be_visible()
    expect(stage).to_be_visible()
    before = stage.bounding_box()
    held[0].continue_()
    until_done(page)
    assert stage.bounding_box() == before
    lists = [page.locator(f"{name}:visible") for name in (".class", "#measurements tbody tr")]
    expect(page.locator("#found")).to_have_text(re.compile("^5[0-9] of 104 classes$"))
    page.get_by_label("Find a class").fill("CLASS_10")
    for found in lists:
        expect(found).to_have_count(6)  # 10 and 100 to 104, though the mask has no 100
    page.get_by_label("Find a class").fill("")
    page.get_by_label("Only those in this mask").uncheck()
    for found in lists:
        expect(found).to_have_count(MANY)
    assert not Axe().run(page).response["violations"]


def test_a_stack_becomes_its_frames_and_each_is_answered(hostile, open_page):
    frames = np.stack([touching_nuclei(), touching_nuclei()[::-1]])
    file = io.BytesIO()
    tifffile.imwrite(file, frames, imagej=True, metadata={"axes": "TYX"})
    page = open_page(str(hostile.base_url))
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    give(page, ("film.tif", file.getvalue()))
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    names = page.locator("#queue .case span:not(.state)").all_inner_texts()
    assert names == ["film_t0.tif", "film_t1.tif"]
    page.keyboard.press("j")
    expect(page.locator("#status")).to_contain_text("film_t1.tif is there")
    with page.expect_download() as started:
        page.locator("#download-best").click()
    of_whole = [url for url in sent if "frame=" in url]
    assert len(of_whole) == 1, "the whole is taken apart once; each frame is sent alone"
    assert "as=frames" in of_whole[0]
    path = f"/segment?format=instances&frame=t:1&model={quote(HOSTILE)}"
    found = tifffile.imread(io.BytesIO(hostile.post(path, content=file.getvalue()).content))
    np.testing.assert_array_equal(tifffile.imread(started.value.path()), found)
    alone = hostile.post(path.replace("&frame=t:1", ""), content=png(frames[1])).content
    np.testing.assert_array_equal(found, tifffile.imread(io.BytesIO(alone)))


def test_an_image_of_one_pixel_that_comes_before_its_model_is_known_is_segmented(
    hostile, open_page
):
    page = open_page(str(hostile.base_url))
    held = []
    page.route("**/models", lambda route: held.append(route))
    with page.expect_request("**/models"):
        page.reload()
    give(page, ("one.png", png(np.full((1, 1), 204))))
    expect(page.locator("#status")).to_contain_text("The model is asked for")
    held[0].continue_()
    until_done(page)
    expect(page.locator("#measurements tbody tr").filter(has_text=HOSTILE)).to_contain_text("1")


def test_a_pixel_that_is_longer_than_wide_is_drawn_so(hostile, open_page):
    file = io.BytesIO()
    image = touching_nuclei()
    tifffile.imwrite(file, image, resolution=(40, 20), resolutionunit="CENTIMETER")
    page = open_page(str(hostile.base_url))
    give(page, ("long.tif", file.getvalue()))
    until_done(page)
    page.select_option("#mode", "off")
    scale, left, top, density = map(float, until_still(page).split())
    canvas = page.locator("#flat canvas")
    height = canvas.evaluate("({ height }) => height") / density
    assert abs(height - 2 * top - 2 * scale * image.shape[0]) < 1, "twice as long as wide"
    expect(page.locator("#scale-bar")).to_have_text(re.compile(r"^\d+ mm$"))
    assert left > 8 or top > 7


def test_a_busy_or_absent_service_is_asked_again_and_what_failed_can_be(hostile, open_page):
    page = open_page(str(hostile.base_url))
    answers = iter((
        lambda route: route.fulfill(status=429, headers={"Retry-After": "1"}, body="slower"),
        lambda route: route.abort(),
        lambda route: route.fulfill(status=413, body="<html>nginx</html>"),
        lambda route: route.continue_(),
    ))  # fmt: skip
    page.route("**/segment?**", lambda route: next(answers)(route))
    give(page, ("nuclei.png", png(touching_nuclei())))
    expect(page.locator("#status")).to_contain_text("asked again in 1 s")
    expect(page.get_by_role("alert")).to_contain_text("The image is larger than the service")
    page.get_by_role("button", name="Try again").click()
    until_done(page)
    expect(page.get_by_role("alert")).to_be_empty()


def test_what_is_hidden_and_coloured_stays_so_for_the_next_image(hostile, open_page):
    page = open_page(str(hostile.base_url))
    give(page, ("a.png", png(touching_nuclei())), ("b.png", png(touching_nuclei().T)))
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    until_done(page)
    page.keyboard.press("2")
    page.locator("#classes input[type=color]").first.fill("#123456")
    page.keyboard.press("j")
    expect(page.locator("#status")).to_contain_text("b.png is there")
    expect(page.locator("#classes input[value='2']")).not_to_be_checked()
    expect(page.locator("#classes input[type=color]").first).to_have_value("#123456")

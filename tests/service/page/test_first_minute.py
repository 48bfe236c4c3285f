"""What somebody meets who is handed the address: an example, objects, their own language."""

import csv
import io
import re
import zipfile

import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from seg.model_package import add_example, read_card, write_card
from tests.packages import write_package
from tests.service.conftest import labels_of, png, serving, until
from tests.service.page.conftest import give, pixels_of, until_done
from tests.service.routes.test_objects import touching_nuclei

HOSTILE = '<img src="x" onerror="document.title=1">'
"""Would be run where a name is taken for HTML; the page would ask for a file that nobody has."""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A client of a server whose model knows objects, has an example, and hostile names."""
    folder = tmp_path_factory.mktemp("cells")
    names = [("background", (0, 0, 0)), ("cytoplasm", (0, 160, 0)), (HOSTILE, (200, 0, 0))]
    package = write_package(folder / "package", objects=True)
    card = read_card(package)
    rules = {card.classes[1].name: card.instances.rules["cytoplasm"]}
    rules[HOSTILE] = card.instances.rules["nucleus"]
    classes = [{"index": at, "name": n, "color": color} for at, (n, color) in enumerate(names)]
    fields = card.model_dump() | {"classes": classes, "metrics": {}, "licence": HOSTILE}
    fields["instances"] |= {"rules": rules}
    write_card(package, type(card).model_validate(fields))
    tifffile.imwrite(folder / "Jane.tif", touching_nuclei())
    add_example(package, [folder / "Jane.tif"], f"Three nuclei; CC0. {HOSTILE}")
    with serving(package, folder) as client:
        yield client


def test_an_example_is_tried_and_an_object_of_it_found_by_a_click(cells, open_page):
    page = open_page(str(cells.base_url))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.locator("#example-hint")).to_contain_text("Three nuclei; CC0.")
    page.get_by_role("button", name="Try an example").click()
    until_done(page)
    rows = page.locator("#objects tbody tr")
    image = png(touching_nuclei())
    found = cells.post("/segment?format=objects", content=image).json()["objects"]
    nuclei = [row for row in found if row["class"] == HOSTILE]
    assert len(nuclei) == 3
    expect(rows).to_have_count(len(found))
    first, last = nuclei[0], nuclei[-1]
    rows.nth(first["label"] - 1).click()
    expect(page.locator("#mode")).to_have_value("objects")
    page.locator("[data-zoom=fit]").click()
    at = round(first["centroid-0"]), round(first["centroid-1"])
    picture = labels_of(cells.post("/picture", content=image).content).astype(int)
    seen = pixels_of(page)
    assert np.abs(seen[at] - (picture[at] + 255) / 2).max() <= 2, "the chosen one is white"
    assert len({tuple(seen[place]) for place in ((20, 16), (20, 32), (36, 58))}) == 3
    # and back: a click into the picture marks the row
    box = page.locator("#flat canvas").bounding_box()
    scale, left, top, _ = map(
        float, page.locator("#flat canvas").get_attribute("data-view").split()
    )
    page.mouse.click(
        box["x"] + left + scale * (last["centroid-1"] + 0.5),
        box["y"] + top + scale * (last["centroid-0"] + 0.5),
    )
    expect(rows.nth(last["label"] - 1)).to_have_attribute("aria-current", "true")
    assert not [url for url in asked if url.endswith("/x")], "a name was taken for HTML"
    expect(page.locator("#classes")).to_contain_text(HOSTILE)


def test_what_a_tab_has_outlives_a_reload_without_being_asked_for_again(cells, open_page):
    page = open_page(str(cells.base_url))
    give(page, (f"{HOSTILE}.png", png(touching_nuclei())), ("second.png", png(touching_nuclei().T)))
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    expect(page.locator("#queue .case").first).to_contain_text(HOSTILE)
    until_done(page)
    before = pixels_of(page)
    posted = []
    page.on("request", lambda request: posted.append(request.method))
    page.reload()
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    until_done(page)
    np.testing.assert_array_equal(pixels_of(page), before)
    expect(page.locator("#objects tbody tr").first).to_be_visible()
    until(lambda: page.evaluate("document.readyState") == "complete")
    assert posted.count("POST") <= 1  # the values under the cursor, and no segmentation
    page.get_by_role("button", name="Remove all").click()
    page.reload()  # at once: nothing of it is left half deleted
    expect(page.locator("#intake")).to_be_visible()
    expect(page.locator("#queue")).to_be_hidden()


WHAT_IS_SAID = """() => {
    window.said = [];
    const look = () => {
        const text = document.querySelector("#status").textContent;
        if (text) window.said.push([text, document.querySelectorAll("#objects tbody tr").length]);
    };
    new MutationObserver(look).observe(document.querySelector("#status"), {childList: true});
}"""


def test_a_mask_is_called_there_when_it_is_drawn_and_not_before(cells, open_page):
    page = open_page(str(cells.base_url))
    on_load = f"document.addEventListener('DOMContentLoaded', {WHAT_IS_SAID})"
    page.evaluate(WHAT_IS_SAID)
    give(page, ("nuclei.png", png(touching_nuclei())))
    until_done(page)
    said = page.evaluate("window.said")
    page.add_init_script(on_load)
    page.reload()
    until_done(page)
    said += page.evaluate("window.said")
    rows = page.locator("#objects tbody tr").count()
    there = [count for text, count in said if "is there" in text]
    assert rows
    assert set(there) == {rows}
    assert len(there) >= 2, "after the first answer and after the reload"


def test_a_zip_of_pictures_becomes_one_table_and_one_archive(cells, open_page):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("plate/b.png", png(touching_nuclei()))
        archive.writestr("plate/a.png", png(touching_nuclei().T))
        archive.writestr("__MACOSX/plate/._a.png", b"nothing")
    page = open_page(str(cells.base_url))
    give(page, ("plate.zip", file.getvalue()))
    expect(page.locator("#queue li[data-state=done]")).to_have_count(2)
    with page.expect_download() as started:
        page.get_by_role("button", name="Archive of all").click()
    with zipfile.ZipFile(started.value.path()) as archive:
        assert sorted(archive.namelist()) == [
            *("a_mask.tif", "b_mask.tif", "objects.csv", "table.csv"),
        ]
        rows = [*csv.DictReader(io.StringIO(archive.read("objects.csv").decode()))]
        assert {row["image"] for row in rows} == {"a.png", "b.png"}
        table = archive.read("table.csv").decode()
        mask = tifffile.imread(io.BytesIO(archive.read("b_mask.tif")))
    assert mask.shape == (48, 72)
    assert mask.max() >= 3
    assert table.count("a.png") == table.count("b.png") >= 2
    assert table.startswith("image,")
    assert "components" in table.splitlines()[0]
    assert ",objects,objects_low,objects_high" in table.splitlines()[0]


def test_the_page_speaks_german_and_remembers_it(cells, open_page):
    page = open_page(str(cells.base_url))
    give(page, ("bild.png", png(touching_nuclei())))
    until_done(page)
    page.select_option("#language", "de")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("heading", name="Ist ihr zu trauen?")).to_be_visible()
    expect(page.locator("#measurements")).to_contain_text("Klasse")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    give(page, ("leer.png", png(np.zeros((48, 72)))))
    expect(page.locator("#status")).to_have_text("Die Maske von leer.png ist da, mit 2 Warnungen.")
    warning = page.locator("#warnings li").first
    expect(warning).to_have_text("Fast alle Werte sind 0: Das Bild scheint leer zu sein.")
    assert warning.get_attribute("lang") is None
    assert "{" not in page.locator("body").inner_text()
    assert not Axe().run(page).response["violations"]


def test_a_model_has_a_page_for_people(cells, open_page):
    page = open_page(str(cells.base_url))
    page.get_by_role("link", name="About this model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nearest-level 1")
    expect(page.locator("#classes")).to_contain_text(HOSTILE)
    expect(page.locator("#licence")).to_have_text(HOSTILE)
    assert not Axe().run(page).response["violations"]
    page.get_by_role("link", name="Use this model").click()
    expect(page).to_have_url(re.compile(r"model=nearest-level"))
    expect(page.get_by_role("button", name="Try an example")).to_be_visible()
    json = cells.get("/models/nearest-level", headers={"Accept": "application/json"})
    assert json.json()["name"] == "nearest-level"
    number = cells.get("/models/nearest-level/versions/1/example/0")
    assert tifffile.imread(io.BytesIO(number.content)).shape == (48, 72)
    for nothing in ("1", "-1", "0x0", "٣"):
        assert cells.get(f"/models/nearest-level/versions/1/example/{nothing}").status_code == 404


def test_a_file_that_is_no_image_leaves_room_for_the_next(cells, open_page):
    page = open_page(str(cells.base_url))
    give(page, ("notes.txt", b"no image at all"))
    expect(page.locator("#alert")).to_contain_text("notes.txt")
    expect(page.locator("#drop")).to_be_visible()
    give(page, ("cells.png", png(touching_nuclei())))
    until_done(page)
    expect(page.locator("#drop")).to_be_hidden()


def test_images_keep_their_order_over_a_reload_and_a_table_says_who_is_not_in_it(cells, open_page):
    page = open_page(str(cells.base_url))
    names = [f"{number:02}.png" for number in range(12)]
    image = png(touching_nuclei())
    give(page, *((name, image if name != "07.png" else b"nothing") for name in names))
    expect(page.locator("#queue li[data-state=done]")).to_have_count(11)
    assert page.locator("#queue .case > span:nth-child(2)").all_inner_texts() == names
    page.reload()
    expect(page.locator("#queue li[data-state=done]")).to_have_count(11)
    assert page.locator("#queue .case > span:nth-child(2)").all_inner_texts() == names
    expect(page.locator("#queue li[data-state=failed]")).to_have_count(1)  # it is sent once more
    posted = []
    page.on("request", lambda request: posted.append(request.url))
    with page.expect_download() as started:
        page.get_by_role("button", name="Table of all").click()
    rows = [*csv.DictReader(io.StringIO(started.value.path().read_text()))]
    assert [*dict.fromkeys(row["image"] for row in rows)] == [n for n in names if n != "07.png"]
    expect(page.locator("#status")).to_contain_text("they have no mask: 1 of the images")
    assert not [url for url in posted if "segment" in url], "the sizes came with the masks"

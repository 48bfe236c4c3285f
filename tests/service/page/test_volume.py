import gzip
import io
import re

import nibabel
import numpy as np
import pytest
from playwright.sync_api import expect

from seg.images import Image, encode_image
from service.middleware.key_file import new_key, write_keys
from tests.packages import CLASSES, LEVELS, write_package
from tests.service.conftest import serving, until
from tests.service.page.conftest import give, screenshot_of, set_slider, until_done

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
DELETED = 'seg_requests_total{method="DELETE",route="/jobs/{job}",status="204"}'
SCOPES = {"jobs": ("segment", "jobs"), "requests": ("segment",), "metrics": ("metrics",)}
GREEN, RED = (entry.color for entry in CLASSES[1:])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A client of a server whose model takes volumes."""
    folder = tmp_path_factory.mktemp("volumes")
    package = write_package(folder / "package", patch=(16, 16, 16))
    with serving(package, folder) as client:
        yield client


def layers():
    """Slices of the three levels from the feet to the head, (z, y, x)."""
    levels = np.repeat((255 * np.array(LEVELS)).astype(np.uint8), 6)
    return np.broadcast_to(levels[:, np.newaxis, np.newaxis], (18, 20, 24)).copy()


def nifti() -> bytes:
    return encode_image(
        Image(layers()[np.newaxis], spacing=(2.0, 1.0, 1.0), affine=AFFINE), ".nii.gz"
    )


def share_of(pixels, color) -> float:
    """How much of a picture has a colour, about: it is shaded in 3D."""
    return float((np.abs(pixels - np.array(color)).max(axis=-1) <= 12).mean())


def until_seen(page, holds) -> None:
    """Wait until it holds of what the volume's view shows: it is drawn after it was asked to."""
    until(lambda: holds(screenshot_of(page, "#volume canvas")))


def at_slice(page, number: int) -> None:
    page.locator("#slice-2").fill(str(number))


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.nrrd"])
def test_a_volume_is_shown_in_slices_with_its_mask(volumes, open_page, name):
    content = nifti()
    if name == "scan.nii":
        content = gzip.decompress(content)
    if name == "scan.nrrd":  # the service makes NIfTI of it
        content = encode_image(Image(layers()[np.newaxis], (2.0, 1.0, 1.0), AFFINE), ".nrrd")
    page = open_page(str(volumes.base_url))
    give(page, (name, content))
    until_done(page)
    set_slider(page, "#opacity", 100)
    page.select_option("#layout", "axial")
    labels = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(mask_of(volumes))).dataobj)
    for z, color in ((2, None), (8, GREEN), (15, RED)):
        at_slice(page, z)
        label = int(labels[10, 10, z])
        until_seen(
            page,
            lambda pixels, color=color: all(
                (share_of(pixels, other) > 0.3) == (other == color) for other in (GREEN, RED)
            ),
        )
        expected = f"{CLASSES[label].name}."
        expect(page.locator("#place")).to_contain_text(expected)


def mask_of(volumes) -> bytes:
    return volumes.post("/segment", content=nifti()).content


def test_a_class_of_a_volume_can_be_switched_off_and_the_mask_made_clear(volumes, open_page):
    page = open_page(str(volumes.base_url))
    give(page, ("scan.nii.gz", nifti()))
    until_done(page)
    page.select_option("#layout", "axial")
    set_slider(page, "#opacity", 100)
    at_slice(page, 8)
    until_seen(page, lambda pixels: share_of(pixels, GREEN) > 0.3)
    page.get_by_role("checkbox", name="cytoplasm").uncheck()
    until_seen(page, lambda pixels: share_of(pixels, GREEN) == 0)
    page.get_by_role("checkbox", name="cytoplasm").check()
    until_seen(page, lambda pixels: share_of(pixels, GREEN) > 0.3)
    set_slider(page, "#opacity", 0)
    until_seen(page, lambda pixels: share_of(pixels, GREEN) == 0)


def test_a_ct_is_shown_in_windows_and_its_mask_as_outlines_and_doubts(volumes, open_page):
    page = open_page(str(volumes.base_url))
    air = layers().astype(np.int16)
    air[:, :, :4] = -1000
    give(page, ("ct.nii.gz", encode_image(Image(air[None], (2.0, 1.0, 1.0), AFFINE), ".nii.gz")))
    until_done(page)
    page.select_option("#layout", "axial")
    at_slice(page, 8)
    page.select_option("#mode", "off")
    whole = screenshot_of(page, "#volume canvas").mean()
    page.select_option("#window", "0,80")  # soft tissue is bright in the brain's window
    until_seen(page, lambda pixels: pixels.mean() > whole + 10)
    brain = screenshot_of(page, "#volume canvas").mean()
    page.select_option("#window", "-500,1300")
    until_seen(page, lambda pixels: pixels.mean() < brain - 10)
    page.select_option("#mode", "fill")
    set_slider(page, "#opacity", 100)
    until_seen(page, lambda pixels: share_of(pixels, GREEN) > 0)
    filled = share_of(screenshot_of(page, "#volume canvas"), GREEN)
    page.select_option("#mode", "outline")
    at_slice(page, 8)
    until_seen(page, lambda pixels: share_of(pixels, GREEN) < filled / 2)
    page.select_option("#mode", "uncertainty")
    expect(page.locator("#heat-scale")).to_be_visible()
    until_seen(page, lambda pixels: share_of(pixels, GREEN) < 0.01)


def test_the_table_of_a_volume_has_millilitres(volumes, open_page):
    page = open_page(str(volumes.base_url))
    give(page, ("scan.nii.gz", nifti()))
    until_done(page)
    summary = volumes.post("/segment?format=json", content=nifti()).json()
    row = page.locator("#measurements tbody tr").filter(has_text="nucleus")
    expect(row).to_contain_text(f"{summary['classes'][2]['volume_ml']:.3g}")


def test_a_volume_of_the_service_has_the_voxels_that_were_sent(volumes):
    nrrd = encode_image(Image(layers()[np.newaxis], (2.0, 1.0, 1.0), AFFINE), ".nrrd")
    answer = volumes.post("/picture", content=nrrd)
    assert answer.headers["Content-Type"] == "application/x-nifti"
    file = nibabel.FileHolder(fileobj=io.BytesIO(gzip.decompress(answer.content)))
    image = nibabel.Nifti1Image.from_file_map({"image": file, "header": file})
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, layers())
    np.testing.assert_allclose(image.affine, AFFINE)


@pytest.fixture(scope="module")
def slow_volumes(tmp_path_factory):
    """A client of a server that takes long for a volume."""
    folder = tmp_path_factory.mktemp("slow-volumes")
    package = write_package(folder / "package", patch=(16, 16, 16), slow=True)
    with serving(package, folder, SEG_NETWORK_THREADS="1") as client:
        yield client


def large() -> bytes:
    """A volume of thousands of patches, which no machine is done with at once."""
    image = np.kron(layers(), np.ones((3, 8, 8), np.uint8))
    return encode_image(Image(image[np.newaxis], (2.0, 1.0, 1.0), AFFINE), ".nii.gz")


def test_a_volume_is_a_job_that_is_deleted_when_its_mask_is_there(volumes, open_page):
    before = sample(volumes.get("/metrics").text, DELETED)
    page = open_page(str(volumes.base_url))
    page.evaluate(
        """() => {
            window.spoken = [];
            const status = document.getElementById("status");
            new MutationObserver(() => window.spoken.push(status.textContent))
                .observe(status, { childList: true });
        }"""
    )
    give(page, ("scan.nii.gz", nifti()))
    until_done(page)
    until(lambda: sample(volumes.get("/metrics").text, DELETED) == before + 1)
    spoken = page.evaluate("window.spoken")
    assert len(spoken) < 12  # a screen reader is not told of every tile
    assert not any("tiles" in text for text in spoken)
    assert 'route="/jobs/{job}/events",status="200"' in volumes.get("/metrics").text


def test_a_job_shows_how_far_it_is_and_is_cancelled_by_keyboard(slow_volumes, open_page):
    before = sample(slow_volumes.get("/metrics").text, DELETED)
    page = open_page(str(slow_volumes.base_url))
    give(page, ("scan.nii.gz", large()))
    detail = page.locator("#detail")
    expect(detail).to_have_text(re.compile(r"^\d+ of \d+ tiles, about \d+ (s|min) left$"))
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-describedby", "detail")
    assert 0 < float(bar.get_attribute("value")) < 1
    assert page.locator("#status").get_attribute("role") == "status"  # a polite live region
    page.locator("#files").focus()
    for _ in range(8):  # the bar above comes first
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "cancel":
            break
    expect(page.locator("#cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("Cancelled.")
    until(lambda: sample(slow_volumes.get("/metrics").text, DELETED) == before + 1)


@pytest.fixture(scope="module")
def strict_volumes(tmp_path_factory):
    """A client of a server that asks for keys and gives a job little time, and keys by scope."""
    folder = tmp_path_factory.mktemp("strict-volumes")
    package = write_package(folder / "package", patch=(16, 16, 16), slow=True)
    keys = {scope: new_key(scope, scopes) for scope, scopes in SCOPES.items()}
    write_keys(folder / "keys.json", [key for key, _ in keys.values()])
    settings = {"SEG_KEYS": "required", "SEG_KEYS_FILE": str(folder / "keys.json")}
    settings |= {"SEG_JOB_TIMEOUT_S": "5", "SEG_NETWORK_THREADS": "1"}
    with serving(package, folder, **settings) as client:
        yield client, {scope: token for scope, (_, token) in keys.items()}


def with_key(open_page, client, token):
    page = open_page(str(client.base_url), ready=False)
    page.get_by_label("API key").fill(token)
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#model-line")).to_contain_text("nearest-level")
    return page


def test_a_job_that_fails_says_why_and_the_next_volume_is_welcome(strict_volumes, open_page):
    client, keys = strict_volumes
    page = with_key(open_page, client, keys["jobs"])
    give(page, ("scan.nii.gz", large()))
    expect(page.get_by_role("alert")).to_contain_text("took longer than 5 s and was stopped")
    give(page, ("scan.nii.gz", nifti()))
    until_done(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_key_without_the_scope_of_jobs_gets_its_volume_from_a_request(strict_volumes, open_page):
    client, keys = strict_volumes
    page = with_key(open_page, client, keys["requests"])
    with page.expect_response("**/segment?**") as answered:
        give(page, ("scan.nii.gz", nifti()))
        until_done(page)
    assert answered.value.status == 200
    metrics = client.get("/metrics", headers={"Authorization": f"Bearer {keys['metrics']}"}).text
    assert sample(metrics, 'seg_requests_total{method="POST",route="/jobs",status="403"}') == 1


def sample(metrics: str, name: str) -> float:
    found = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(found[0].split()[-1]) if found else 0.0

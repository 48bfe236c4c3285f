"""What a hand does on the studio's picture; places are pixels of the image."""

from playwright.sync_api import Page

Place = tuple[float, float]


def spot(page: Page, x: float, y: float) -> Place:
    """Where a pixel of the image is on the screen."""
    canvas = page.locator("#canvas")
    scale, left, top = map(float, (canvas.get_attribute("data-view") or "").split())
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + left + scale * (x + 0.5), box["y"] + top + scale * (y + 0.5)


def drag(page: Page, *places: Place) -> None:
    """With the button held down."""
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=3)
    page.mouse.up()

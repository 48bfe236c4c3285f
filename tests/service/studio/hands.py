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


def see(page: Page, x: float, y: float, *, colored: bool) -> None:
    """Wait until a pixel of the image is shown in a colour, or in grey."""
    page.wait_for_function(
        """([x, y, colored]) => {
          const canvas = document.querySelector("#canvas");
          const [scale, left, top] = canvas.dataset.view.split(" ").map(Number);
          const at = [left + scale * (x + 0.5), top + scale * (y + 0.5)];
          const [red, green, blue] = canvas.getContext("2d").getImageData(...at, 1, 1).data;
          const spread = Math.max(red, green, blue) - Math.min(red, green, blue);
          return colored ? spread > 40 : spread < 5;
        }""",
        arg=[x, y, colored],
    )


def drag(page: Page, *places: Place) -> None:
    """With the button held down."""
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=3)
    page.mouse.up()

"""Pictures of the page for the README, of a running service: desktop, and a phone in the dark.

python jobs/serve_model.py
python -m tests.pipelines.serving.page_screenshots http://127.0.0.1:8000/ docs/images
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from samtok.scenes import generate_scene
from tests.pipelines.serving.browsing import Picture, open_browser, open_page

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 1.5,
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
QUESTION = "Segment the green heart."
NUM_COLOURS = 256


def use(page, image):
    """Paint a heart, draw a box around a square, and ask where somebody answers."""
    picture = Picture(page, image)
    picture.drag((7, 60), (20, 73))
    page.get_by_label("Region 1", exact=True).wait_for()
    page.locator("#canvas").press("p")
    for x, top, bottom in ((49, 38, 52), (55, 34, 52), (62, 40, 52), (66, 46, 49)):
        picture.drag((x, top), (x, bottom))
    page.keyboard.press("Enter")
    page.get_by_label("Region 2", exact=True).wait_for()
    if page.locator("#chat-form").is_visible():
        page.locator("#question").fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator(".turn:not(.mine):not([aria-busy])").wait_for()
    page.mouse.move(1, 1)
    page.wait_for_timeout(500)


def save(page, file):
    """A picture of what is seen, in few colours, so that it stays small."""
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    address, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    image = np.asarray(generate_scene(2, split="test", seed=1).image)
    with open_browser() as browser:
        for name, settings in (("page", DESKTOP), ("page-phone", PHONE)):
            with open_page(browser, address, **settings) as page:
                use(page, image)
                page.evaluate("scrollTo(0, 0)")
                save(page, folder / f"{name}.png")

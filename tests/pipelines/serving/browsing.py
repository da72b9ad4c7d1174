"""A headless browser on the page of a running service, in terms of what a person does."""

import io
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 30_000


@contextmanager
def open_browser():
    """Chromium as the machine has it; skips where it has none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def open_page(browser, address, **settings):
    """The page in a tab of its own; fails on script errors and on requests to anywhere else."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    errors, addresses = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert errors == []
    assert all(a.startswith((address, "blob:", "data:")) for a in addresses), addresses


class Picture:
    """The picture on the page, in its own pixels."""

    def __init__(self, page, array):
        self.page = page
        self.height, self.width = array.shape[:2]
        file = io.BytesIO()
        Image.fromarray(array).save(file, format="PNG")
        page.set_input_files(
            "#file", {"name": "scene.png", "mimeType": "image/png", "buffer": file.getvalue()}
        )
        self.canvas = page.locator("#canvas")
        self.canvas.wait_for()
        page.wait_for_timeout(100)  # a frame or two, until it has its size

    def place(self, x, y):
        """Where the middle of a pixel is on the screen."""
        box = self.canvas.bounding_box()
        return (
            box["x"] + (x + 0.5) * box["width"] / self.width,
            box["y"] + (y + 0.5) * box["height"] / self.height,
        )

    def drag(self, *points):
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=4)
        mouse.up()

    def click(self, x, y):
        self.page.mouse.click(*self.place(x, y))

    def see(self, *, still=False):
        """What is on the screen, a colour for each of the picture's pixels; uint8 (H, W, 3).

        The pointer is moved away first, so that no region is lit, unless it stays `still`.
        """
        if not still:
            self.page.mouse.move(1, 1)
        self.page.wait_for_timeout(100)  # some frames
        shown = np.asarray(Image.open(io.BytesIO(self.canvas.screenshot())).convert("RGB"))
        rows = ((np.arange(self.height) + 0.5) * shown.shape[0] / self.height).astype(int)
        columns = ((np.arange(self.width) + 0.5) * shown.shape[1] / self.width).astype(int)
        return shown[rows][:, columns]

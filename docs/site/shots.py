"""Take screenshots of pages with a headless Chromium: light, dark, and as narrow as a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Shoot = Callable[..., None]


def chromium() -> str | None:
    """The path of the browser: `CHROMIUM`, or `chromium` on the path; None if there is none."""
    given = os.environ.get("CHROMIUM")
    return given or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Shoot | None]:
    """Provide a function that takes a screenshot; None if playwright or the browser is missing."""
    path = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        yield None
        return
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield lambda *given, **settings: _shoot(launched, *given, **settings)
        finally:
            launched.close()


def _shoot(
    launched: Any,
    page: Path,
    image: Path,
    *,
    dark: bool = False,
    width: int = 1280,
    height: int = 800,
    at: str = "",
) -> None:
    """Take a screenshot of a page on disk.

    Args:
        launched: the running browser.
        page: the page's HTML file.
        image: the PNG file to write.
        dark: whether the reader prefers a dark page.
        width, height: size of the window in pixels.
        at: selector of an element to scroll to; empty = the top.
    """
    context = launched.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": height},
    )
    try:
        shown = context.new_page()
        shown.goto(page.resolve().as_uri())
        shown.wait_for_timeout(500)
        if at:
            shown.locator(at).first.evaluate("x => x.scrollIntoView({block: 'start'})")
            shown.wait_for_timeout(100)
        image.parent.mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=str(image))
    finally:
        context.close()


def main() -> None:
    """Run `python shots.py HTML FOLDER PAGE…`: take each page light, dark and 390 pixels wide."""
    import sys

    html, folder, *pages = sys.argv[1:]
    with browser() as shoot:
        if shoot is None:
            raise SystemExit("needs playwright and chromium")
        for page in pages:
            name = page.removesuffix(".html").replace("/", "-")
            for kind, settings in KINDS.items():
                shoot(Path(html, page), Path(folder, f"{name}-{kind}.png"), **settings)


KINDS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "narrow": {"width": 390, "height": 844},
}


if __name__ == "__main__":
    main()

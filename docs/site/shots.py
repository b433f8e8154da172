"""Take screenshots of pages with a headless Chromium: light, dark, and as narrow as a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Screenshot = Callable[..., None]


def chromium_path() -> str | None:
    """The path of the browser: `CHROMIUM`, or `chromium` on the path; None if there is none."""
    from_environment = os.environ.get("CHROMIUM")
    return from_environment or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Screenshot | None]:
    """Provide a function that takes a screenshot; None if playwright or the browser is missing."""
    path = chromium_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        yield None
        return
    with sync_playwright() as playwright:
        chromium_browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield lambda *given, **settings: _shoot(chromium_browser, *given, **settings)
        finally:
            chromium_browser.close()


def _shoot(
    browser: Any,
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
        browser: the running browser.
        page: the page's HTML file.
        image: the PNG file to write.
        dark: whether the reader prefers a dark page.
        width, height: size of the window in pixels.
        at: selector of an element to scroll to; empty = the top.
    """
    context = browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": height},
    )
    try:
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        tab.wait_for_timeout(500)
        if at:
            tab.locator(at).first.evaluate("x => x.scrollIntoView({block: 'start'})")
            tab.wait_for_timeout(100)
        image.parent.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(image))
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

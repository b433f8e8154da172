"""Check that every link within the built site leads to a file and an anchor.

Run `python links.py HTML`, with the folder of the built site.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the anchors and links of a tag."""
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.add(value)


def _read_page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(html: Path) -> Iterator[str]:
    """The broken links, one line for each.

    Args:
        html: the folder of the built site.
    """
    html = html.resolve()
    pages = {path: _read_page(path) for path in sorted(html.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("#q="):
                continue  # It leads to another site, or is a filter of a report.
            target = path
            if parts.path:
                target = Path(os.path.normpath(path.parent / unquote(parts.path)))
            if target.is_dir():
                target /= "index.html"
            source = path.relative_to(html)
            if not target.exists():
                yield f"{source}: {link} leads to no file"
            elif parts.fragment and target in pages and html / "sample" not in target.parents:
                anchors = pages[target].anchors
                if parts.fragment not in anchors and unquote(parts.fragment) not in anchors:
                    yield f"{source}: {link} leads to no anchor"


if __name__ == "__main__":
    broken_lines = list(broken_links(Path(sys.argv[1])))
    print("\n".join(broken_lines) if broken_lines else "every link within the site leads somewhere")
    sys.exit(bool(broken_lines))

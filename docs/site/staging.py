"""Stage the repository's Markdown files as pages of the site; the build copies them each time.

Each file keeps its relative path, so that links between pages still work. A link to another file or
to a folder leads to a generated page with its text or its list of files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OWN_PAGES = HERE / "pages"
"""Pages that exist only for the site."""

LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".md": "markdown",
    ".json": "json",
    ".yml": "yaml",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".js": "javascript",
    ".rs": "rust",
}
"""Suffix → language of a file that is shown unchanged; other files are shown as text."""
PICTURES = (".png", ".svg")
"""Suffixes of files that are copied, so that they stay beside the page that shows them."""
_CODE = re.compile(r"(```.*?```|`[^`\n]*`(?!\]\())", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


README_MARK = "<!-- README -->"
"""Where a page of the site shows the front of the README."""


def front(readme: str) -> str:
    """The README without its list of further pages, for which the site has its own."""
    return readme.partition("\n## Read on\n")[0].rstrip()


def markdown_pages(root: Path = ROOT) -> list[Path]:
    """The Markdown files that are pages, relative to the repository."""
    paths = [*root.glob("*.md"), *(root / "docs").glob("*.md")]
    return sorted(path.relative_to(root) for path in paths)


class Stage:
    """The sources of the site.

    Args:
        target: the folder of the sources.
        root: the repository.
    """

    def __init__(self, target: Path, root: Path = ROOT) -> None:
        self.target, self.root = target, root
        self.shown: dict[str, str] = {}
        self.written: set[Path] = set()

    def write(self, page: str, text: str) -> None:
        """Write a page, unless it is unchanged: then Sphinx need not read it again.

        Args:
            page: the page's path below the target.
            text: the page in Markdown.
        """
        path = self.target / page
        self.written.add(path)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def stage_repository(self) -> None:
        """Stage all pages of the repository."""
        for page in markdown_pages(self.root):
            text = (self.root / page).read_text(encoding="utf-8")
            self.write(page.as_posix(), self.redirect_links(text, page))

    def stage_own(self) -> None:
        """Write the site's own pages. Their links are relative to the repository's root."""
        readme = front((self.root / "README.md").read_text(encoding="utf-8"))
        for path in sorted(OWN_PAGES.glob("*.md")):
            text = path.read_text(encoding="utf-8").replace(README_MARK, readme)
            self.write(path.name, self.redirect_links(text, Path(path.name)))

    def redirect_links(self, text: str, page: Path) -> str:
        """Redirect a page's links to files and folders to the pages generated for them.

        Args:
            text: the page in Markdown.
            page: the page's path in the repository.
        """

        pages = {*markdown_pages(self.root), page}

        def redirect(match: re.Match[str]) -> str:
            path, anchor = match[1], match[2] or ""
            relative = os.path.normpath(page.parent / path)
            target = self.root / relative
            if Path(relative) in pages or not target.exists():
                return match[0]  # Sphinx reports a link that leads nowhere.
            if target.suffix in PICTURES:
                (self.target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(target, self.target / relative)
                return match[0]
            self.generate_page(Path(relative))
            return f"]({path}.md{anchor})"

        parts = _CODE.split(text)
        return "".join(x if k % 2 else _LINK.sub(redirect, x) for k, x in enumerate(parts))

    def generate_page(self, relative: Path) -> str:
        """Generate a page for a file or folder of the repository; return the page's name.

        Args:
            relative: its path in the repository.
        """
        name = f"{relative.as_posix()}.md"
        if name not in self.shown:
            self.shown[name] = ""
            path = self.root / relative
            text = (
                _file_page(relative, path)
                if path.is_file()
                else "\n".join(self._folder_lines(relative))
            )
            self.shown[name] = text
            self.write(name, f"---\norphan: true\n---\n\n{text}\n")
        return name

    def _folder_lines(self, relative: Path) -> Iterator[str]:
        """The page of a folder: its files, or its subfolders if it has no files."""
        entries = [
            p for p in sorted((self.root / relative).iterdir()) if not p.name.startswith(".")
        ]
        entries = [p for p in entries if p.name != "__pycache__" and p.suffix != ".egg-info"]
        yield f"# {relative.as_posix()}\n"
        files = [p for p in entries if p.is_file() and p.suffix in LANGUAGES]
        folders = [p for p in entries if p.is_dir()]
        if not files:
            for folder in folders:
                name = self.generate_page(folder.relative_to(self.root))
                yield f"- [{folder.name}]({Path(name).relative_to(relative.parent).as_posix()})"
            return
        for path in files:
            if len(files) > 4:  # Together they would make the page too long.
                name = self.generate_page(path.relative_to(self.root))
                yield f"- [{path.name}]({Path(name).relative_to(relative.parent).as_posix()})"
            else:
                yield f"## {path.name}\n\n{_code_block(path)}\n"
        for path in sorted(q for f in folders for q in f.rglob("*.py")):
            inner = path.relative_to(self.root / relative).as_posix()
            yield f"## {inner}\n\n{_code_block(path)}\n"

    def delete_stale(self) -> None:
        """Delete pages of an earlier build that this build did not write."""
        for path in self.target.rglob("*.md"):
            if path not in self.written:
                path.unlink()


def _file_page(relative: Path, path: Path) -> str:
    return f"# {relative.name}\n\n`{relative.as_posix()}` in the repository:\n\n{_code_block(path)}"


def _code_block(path: Path) -> str:
    """A file's text in a code block, with a fence that the text does not contain."""
    text = path.read_text(encoding="utf-8").rstrip("\n")
    fence = "`" * (max(map(len, re.findall("`+", text)), default=2) + 3)
    return f"{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}"

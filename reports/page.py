"""Rendering of pages: templates that escape everything, style sheet, script, security policy."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from conformance.reports import text
from conformance.reports.statuses import GLYPHS, status
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.model.grades import LETTERS
from conformance.model.plain_text import visible

MAX_MESSAGE = 20_000
"""Characters shown of a message or a minimal call."""

MAX_SCRIPT = 100_000
"""Characters shown of a reproducer."""

SHEETS = ("base", "parts", "views", "media")
"""The files of the style sheet, in their order."""

SCRIPTS = ("basics", "query", "views", "heat_map", "evidence", "charts", "keys")
"""The files of the script, in their order; the page wraps them in one function."""

MAX_LISTED = 200
"""Entries shown of otherwise unbounded lists: missing items, reasons, unreadable lines."""


def render_page(
    template: str,
    sheets: Sequence[str] = SHEETS,
    scripts: Sequence[str] = SCRIPTS,
    **facts: Any,
) -> str:
    """Render a page that needs no other file and no network, and always encodes as UTF-8.

    Args:
        sheets, scripts: the files of its style sheet and of its script; a page may have no script.
        facts: variables of the template.
    """
    sheet = "".join(_template_source(f"{name}.css") for name in sheets)
    parts = "".join(_template_source(f"{name}.js") for name in scripts)
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    run = f"script-src '{_hash(script)}'; " if scripts else ""
    html = (
        _environment()
        .get_template(template)
        .render(
            sheet=Markup(sheet),
            script=Markup(script),
            policy=(
                f"default-src 'none'; style-src '{_hash(sheet)}'; {run}"
                "base-uri 'none'; form-action 'none'"
            ),
            glyphs=GLYPHS,
            grade_letters=LETTERS,
            status_of=status,
            limits={
                "short": text.MAX_SHORT,
                "message": MAX_MESSAGE,
                "script": MAX_SCRIPT,
                "listed": MAX_LISTED,
            },
            **facts,
        )
    )
    return html.encode("utf-8", "backslashreplace").decode()


class TextBudget:
    """Cut texts, each to its own length and all together to the `characters` of a page."""

    def __init__(self, characters: int) -> None:
        self._remaining = characters

    def cut(self, long: str, length: int) -> str:
        """The text, or as much of it as fits, but at least `text.MAX_SHORT` characters."""
        cut_text = text.cut(long, min(length, max(text.MAX_SHORT, self._remaining)))
        self._remaining -= len(cut_text)
        return cut_text


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("conformance.reports"),
        autoescape=True,
        finalize=_finish_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        text.anchor, text.breakable, text.compact, text.cut, text.duration, text.grouped,
        text.precise, text.query, text.ratio, text.share, text.spread,
    )  # fmt: skip
    environment.filters.update((function.__name__, function) for function in filters)
    return environment


def _template_source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")


def _finish_value(value: Any) -> Any:
    """Cut whatever a template prints, and make it visible, unless it is markup already."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(text.cut(value, 2 * MAX_SCRIPT))
    return value


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"

"""The frame of every report page and the pieces that all pages share."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from brainjax.report.figures import svg_text
from brainjax.report.style import CSS, SCRIPT
from brainjax.report.tables import pairs_table

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page_html(title: str, top: str, sections: Mapping[str, str]) -> str:
    """A complete page that loads nothing from elsewhere.

    Args:
      title: plain text.
      top: HTML that stands between the title and the links to the sections.
      sections: heading (plain text) to HTML; those without any are left out.
    """
    filled = {name: body for name, body in sections.items() if body}
    links = "".join(f'<a href="#{_anchor(name)}">{html.escape(name)}</a>' for name in filled)
    body = "".join(
        f'<section><h2 id="{_anchor(name)}">{html.escape(name)}</h2>{text}</section>'
        for name, text in filled.items()
    )
    words = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{words}</title><style>{CSS}</style></head><body>"
        f"<header><h1>{words}</h1>{top}<nav>{links}</nav></header>"
        f"<main>{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def figure_html(figure: Figure, description: str, *, wide: bool = False) -> str:
    """A figure as SVG inside the page; a wide one has a line of its own and may scroll.

    Args:
      figure: drawn with the functions of this package.
      description: what a screen reader says instead, plain text.
      wide: whether its words would be too small in a column of the page.
    """
    svg = svg_text(figure, description=description)
    if wide:
        inches = figure.get_figwidth()
        size = f"min-width:{4.6 * inches:.1f}rem;max-width:{6.6 * inches:.1f}rem"
        svg = svg.replace("<svg", f'<svg style="{size}"', 1)
        return f'<figure class="wide"><div class="scroll" tabindex="0">{svg}</div></figure>'
    return f"<figure>{svg}</figure>"


def picture_html(
    png: bytes, *, alt: str, caption: str, size: tuple[int, int] = (336, 336), css: str = ""
) -> str:
    """A PNG picture inside the page with its caption, both plain text."""
    data = base64.b64encode(png).decode()
    kind = f' class="{css}"' if css else ""
    return (
        f'<figure><img{kind} src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
        f'width="{size[0]}" height="{size[1]}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def run_html(command: str, environment: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """How a run was started: command, environment, and its settings to be opened."""
    parts = [f"<pre><code>{html.escape(command)}</code></pre>"] if command else []
    if environment:
        parts.append(pairs_table(environment, caption="Environment"))
    if config:
        table = pairs_table(config, caption="Every setting of this run")
        parts.append(f"<details><summary>Configuration</summary>{table}</details>")
    return "".join(parts)


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "section"

"""HTML and markdown of a notebook, made harmless.

Whatever comes in, only the tags below come out, without attributes that could load, run or style anything, each one closed. The page says
the same to the browser by its Content-Security-Policy; neither relies on the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from html.parser import HTMLParser
from urllib.parse import unquote

LONGEST_MARKUP = 200_000
"""Characters of HTML or markdown that are shown; what is longer stays in the notebook."""
_DEEPEST = 60
_TAGS = frozenset(
    "a abbr b blockquote br caption code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small "
    "span strong sub summary sup table tbody td tfoot th thead tr u ul var".split()
)
_VOID = frozenset(("br", "hr", "img"))
_DROPPED = frozenset(
    ("script", "style", "template", "iframe", "object", "noscript", "textarea", "title", "svg", "math", "head", "select")
)
"""Elements whose content is not for reading."""
_SAFE_LINK = re.compile(r"(?:https?|mailto):|#", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_SPANS = re.compile(r"[1-9][0-9]{0,3}")
_HEADING = re.compile(r"h([1-6])")
_BELOW = 3
"""The level of a heading that a notebook calls its first: those above are the page's own."""


def harmless(html: str, pictures: Mapping[str, str] | None = None) -> str:
    """Return HTML with only what is for reading.

    Args:
        pictures: data URLs of what the HTML calls `attachment:NAME`, by name.

    >>> harmless("<b onclick=x>a</b><script>1</script> <p>b")
    '<b>a</b> <p>b</p>'
    """
    reader = _Reader(pictures or {})
    reader.feed(html)
    reader.close()
    return reader.text()


def markdown(text: str, pictures: Mapping[str, str] | None = None) -> str:
    """Return markdown as harmless HTML; `pictures` as for `harmless`."""
    import mistune

    renderer = mistune.HTMLRenderer(escape=False, allow_harmful_protocols=True)  # what comes out is made harmless below
    read = mistune.create_markdown(renderer=renderer, plugins=["table", "strikethrough", "url"])
    try:
        made = read(text)
    except RecursionError:
        made = None
    return harmless(made, pictures) if isinstance(made, str) else f"<pre>{escape(text, quote=False)}</pre>"


class _Reader(HTMLParser):
    """Reads any HTML and writes what may stay."""

    def __init__(self, pictures: Mapping[str, str]) -> None:
        super().__init__(convert_charrefs=True)
        self._pictures = pictures
        self._out: list[str] = []
        self._open: list[str] = []
        self._dropping: list[str] = []

    def text(self) -> str:
        return "".join([*self._out, *(f"</{tag}>" for tag in reversed(self._open))])

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if self._dropping or tag in _DROPPED:
            if tag in _DROPPED:
                self._dropping.append(tag)
            return
        if tag not in _TAGS or (tag not in _VOID and len(self._open) >= _DEEPEST):
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._picture(given)
            return
        tag = _lowered(tag)
        self._out.append(f"<{tag}{_attributes(tag, given)}>")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self.handle_starttag(tag, attrs)
        elif tag not in _DROPPED:
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._dropping:
            if tag in self._dropping:
                del self._dropping[self._dropping.index(tag) :]
            return
        tag = _lowered(tag)
        if tag not in self._open:
            return
        while self._open:
            last = self._open.pop()
            self._out.append(f"</{last}>")
            if last == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._dropping:
            self._out.append(escape(data, quote=False))

    def unknown_decl(self, data: str) -> None:
        """Leave out what is no HTML, such as CDATA."""

    def _picture(self, given: Mapping[str, str]) -> None:
        source, text = given.get("src", ""), given.get("alt", "")
        if source.startswith("attachment:"):
            source = self._pictures.get(unquote(source.removeprefix("attachment:")), source)
        if _PICTURE.fullmatch(source):
            self._out.append(f'<img src="{escape(source)}" alt="{escape(text)}">')
        else:
            self._out.append(f"<em>[picture{': ' if text or source else ''}{escape(text or source[:100])}]</em>")


def _lowered(tag: str) -> str:
    heading = _HEADING.fullmatch(tag)
    return tag if heading is None else f"h{min(6, int(heading.group(1)) + _BELOW - 1)}"


def _attributes(tag: str, given: Mapping[str, str]) -> str:
    if tag == "a" and _SAFE_LINK.match(given.get("href", "").strip()):
        return f' href="{escape(given["href"].strip())}" rel="noopener noreferrer"'
    if tag in ("td", "th"):
        return "".join(f' {name}="{given[name]}"' for name in ("colspan", "rowspan") if _SPANS.fullmatch(given.get(name, "")))
    return ""

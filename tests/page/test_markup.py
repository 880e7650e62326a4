"""What a notebook's HTML and markdown become on a page: readable, and nothing that runs or loads."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_nb.page.markup import harmless, markdown

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<script>alert(1)</script>a", "a"),
        ("<style>b{}</style><p>a</p>", "<p>a</p>"),
        ("<p onclick='x' style='y' class=z>a</p>", "<p>a</p>"),
        ("<iframe src=//evil><b>x</b></iframe>a", "a"),
        ("<svg><script>1</script></svg>a", "a"),
        ("</div></section>a", "a"),
        ("<div><b>a", "<div><b>a</b></div>"),
        ("<b><i>a</b>c", "<b><i>a</i></b>c"),
        ("<a href='javascript:x'>a</a>", "<a>a</a>"),
        ("<a href=' java&#10;script:x'>a</a>", "<a>a</a>"),
        ("<a href='https://x/?a=\"&b'>a</a>", '<a href="https://x/?a=&quot;&amp;b" rel="noopener noreferrer">a</a>'),
        ("<img src='https://evil/x.png' alt='a \"b'>", "<em>[picture: a &quot;b]</em>"),
        (f"<img src='{PIXEL}' alt='a \"b'>", f'<img src="{PIXEL}" alt="a &quot;b">'),
        ("<img src='data:image/svg+xml;base64,AAAA'>", "<em>[picture: data:image/svg+xml;base64,AAAA]</em>"),
        ("<td colspan=2 rowspan='x'>a</td>", '<td colspan="2">a</td>'),
        ("<h1>a</h1>", "<h3>a</h3>"),
        ("a <!-- b --> c <![CDATA[ d ]]>", "a  c "),
        ("1 < 2 &amp; 3 &lt;b&gt;", "1 &lt; 2 &amp; 3 &lt;b&gt;"),
    ],
)
def test_only_what_is_for_reading_is_left(html: str, expected: str) -> None:
    assert harmless(html) == expected


def test_markdown_is_read_with_its_tables_and_attachments() -> None:
    made = markdown("# T\n\n| a |\n|---|\n| *b* |\n\n![x](attachment:my%20p.png)\n\n<b>raw</b>", {"my p.png": PIXEL})
    assert "<h3>T</h3>" in made
    assert "<td><em>b</em></td>" in made
    assert f'<img src="{PIXEL}" alt="x">' in made
    assert "<b>raw</b>" in made


@pytest.mark.parametrize(
    "text", ["[a](javascript:alert(1))", "[a](data:text/html,x)", "<javascript:alert(1)>", "[a](\tvbscript:x)"]
)
def test_markdown_links_lead_only_to_pages(text: str) -> None:
    assert "href" not in markdown(text)


def test_what_is_nested_deeply_has_an_end() -> None:
    assert harmless("<div>" * 5000 + "a").count("<div>") <= 60
    assert "a" in markdown("> " * 3000 + "a")
    assert markdown("[" * 5000 + "a" + "]" * 5000)


class _Balance(HTMLParser):
    """Fails at any tag that is not in the list, closed out of order, or carries what it must not."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "style", "iframe", "svg", "form", "input", "link", "meta", "base", "object")
        assert {name for name, _ in attrs} <= {"href", "rel", "src", "alt", "colspan", "rowspan"}
        if tag not in ("br", "hr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PIECES = st.lists(
    st.sampled_from(
        "<script> </script> <b> </b> <p onclick=x> </p> <div> </div> <a href='javascript:x'> </a> <img src=x> <table> <td> </table> "
        "<svg> </svg> <style> </style> <!-- --> <![CDATA[ ]]> < > & \" ' <br/> <h1> </h1> &lt;script&gt; <scr <math> </title> <title> \x00".split(
            " "
        )
    )
    | st.text(max_size=5),
    max_size=20,
)


@given(PIECES)
def test_whatever_comes_in_comes_out_closed_and_without_what_runs(pieces: list[str]) -> None:
    reader = _Balance()
    reader.feed(harmless("".join(pieces)))
    reader.close()
    assert reader.open == []

"""Whatever a run found is shown, and is nothing else."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advrob.report import markup
from conftest import ROOT

CAPTIONS = sorted((ROOT / "workflow/report").glob("*.rst"))
LINK = "`x <javascript:alert(1)>`_"
HOSTILE = [
    LINK,
    "`` `x <javascript:alert(1)>`_ ``",
    "`",
    "``",
    "*",
    "**",
    "|",
    "|x|",
    "x_",
    "[1]_",
    "javascript:alert(1)",
    "https://example.org",
    ".. raw:: html\n\n   <script>x</script>",
    "a\n\n.. include:: /etc/passwd",
    "{{ 7 * 7 }}",
    "{% for",
    "<script>alert(1)</script>",
    "\ue0000\ue001",
    "\\",
    ":code:`x`",
    "a\n===\n",
]


class Elements(HTMLParser):
    """The elements and the text of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("href", "src")]

    def handle_data(self, data):
        self.text += data


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("around", ["Of {} images.", "Of ``{}`` images.", "Of *{}* images.", "{}"])
def test_a_value_is_only_text_in_a_caption(value, around):
    text = around.format("{{ snakemake.params.name }}")
    shown = Elements(markup.caption(text, {"name": value}))
    assert words(shown.text) == words(around.replace("``", "").replace("*", "").format(value))
    plain = Elements(markup.caption(text, {"name": "name"}))
    assert (shown.tags, shown.links) == (plain.tags, [])


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_the_captions_are_well_formed_whatever_the_values(path, value):
    text = path.read_text()
    params = set(re.findall(r"snakemake\.params\.(\w+)", text))
    shown = Elements(markup.caption(text, dict.fromkeys(params, value)))
    assert not shown.links
    assert set(shown.tags) <= {"p", "em", "span"}
    assert (words(value) in words(shown.text)) >= bool(params)


def test_a_caption_reads_no_files_and_has_no_html_of_its_own(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    for text in (f".. include:: {secret}", ".. raw:: html\n\n   <script>x</script>"):
        try:
            html = str(markup.caption(text, {}))
        except Exception as error:
            html = str(error)
        assert "hidden" not in html
        assert "<script" not in html


@pytest.mark.parametrize("missing", [None, ""])
def test_a_value_that_is_not_there_leaves_nothing(missing):
    html = markup.caption("A.\n\n{{ snakemake.params.note }}", {"note": missing})
    assert html == markup.caption("A.", {})


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** c", "a <strong>b</strong> c"),
        ("*a*: b", "<em>a</em>: b"),
        ("`a*b*` is", "<code>a*b*</code> is"),
        ("`` a`b ``", "<code>a`b</code>"),
        ("a ` b", "a ` b"),
        ("`a``b", "`a``b"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("**", "**"),
        ("a*b*c", "a*b*c"),
        ("`<i>`", "<code>&lt;i&gt;</code>"),
        ("**<i>**", "<strong>&lt;i&gt;</strong>"),
        ('<i> & "', "&lt;i&gt; &amp; &#34;"),
        ("{0} {}", "{0} {}"),
        ("**{0}**", "<strong>{0}</strong>"),
    ],
)
def test_mark_up_of_tables(text, html):
    assert markup.inline(text) == html


@given(st.text(alphabet="`*<>&[]()|_\\ \n\"'a:", max_size=60))
def test_a_text_is_shown_as_it_is_but_for_marks(text):
    shown = Elements(markup.inline(text))
    assert set(shown.tags) <= {"code", "strong", "em"}
    without = str.maketrans("", "", "`* ")
    assert shown.text.translate(without) == text.translate(without)


@pytest.mark.parametrize("text", ["`" * 20_000, "`a" * 5_000, "**a " * 5_000, " *a" * 5_000])
def test_long_texts_are_no_trap(text):
    started = time.perf_counter()
    markup.inline(text)
    assert time.perf_counter() - started < 5

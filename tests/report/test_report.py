"""The page with a run's answer."""

import base64
import io
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import report as script
from advrob.findings import tables
from advrob.findings.tables import Table
from advrob.report import page as pages
from conftest import ROOT
from reported import (
    RECORD,
    certified_rows,
    check_rows,
    robustness_rows,
    verdict_rows,
    write_csv,
)

EVIL = "<script>alert(1)</script>&\"'`|[x](javascript:alert(1))"
TEMPLATE = ROOT / "workflow/report/page.html"
VOID = {"meta", "img", "br", "hr", "link", "input"}
HEADINGS = re.compile(r"h[1-6]")


class Page(HTMLParser):
    """What is in a page; an assertion fails where elements do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.images, self.words = [], [], [], [], []
        self.rows, self.headings = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.addresses += [value for key, value in attributes if key in ("href", "src", "srcset")]
        if tag == "img":
            self.images.append(named)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and HEADINGS.fullmatch(self.open[-1]):
            self.headings.append(data)


def write_table(folder, name, part=None):
    table = Table(
        columns=(),
        rows=(),
        title="Title",
        header=("Data set", "Accuracy, %"),
        lines=[(EVIL, "12.50"), ("`b`", "**1** to 2")],
        remark=f"A remark on {EVIL}.",
        parts=[part] if part else [],
    )
    paths = {f"{kind}_path": str(folder / f"{name}.{kind}") for kind in ("csv", "markdown", "json")}
    tables.write(table, **paths, note="the note")
    return paths["json_path"]


# What the page shows: files with their names and groups.
SHOWN = {
    "tables/table_1.json": ("Table 1", "2. Attacks"),
    "tables/table_2.json": ("Table 2", "2. Attacks"),
    "figures/figure_1.png": (f"Figure {EVIL}", "1. Models"),
    "figures/figure_5.png": ("Figure 5", "2. Attacks"),
    "tables/checks.json": ("Checks", "5. Robustness"),
    "tables/calibration.json": ("Calibration", "5. Robustness"),
    "tables/replication.json": ("Replication", "4. Replication"),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's files, and the page that is made of them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("tables", "figures", "logs/scores"):
        Path(folder).mkdir(parents=True)
    draw = np.random.default_rng(0)
    photograph = draw.integers(0, 256, (500, 2000, 3)).astype(np.uint8)
    for number, pixels in ((5, photograph), (1, photograph[:20, :30])):
        Image.fromarray(pixels).save(f"figures/figure_{number}.png")
    write_table(Path("tables"), "table_1", Table((), (), "A part", ("A",), [("1",)], "Its remark."))
    for name in ("table_2", "checks", "calibration", "replication"):
        write_table(Path("tables"), name)
    for number, seconds in enumerate((1.5, 2.5)):
        record = {"seconds": seconds, "machine": "a <b> processor, 2 cores", "memory": 101_000_000}
        line = json.dumps(asdict(RECORD) | record)
        Path(f"logs/scores/{number}.log").write_text(f"on a vm, threads: 1\n{line}\n")
    caption = "What *this* is, of {{ snakemake.params.name }}."
    csvs = {
        "robustness": robustness_rows({"none": 10, "noise": 12}),
        "checks": check_rows("passed", "failed"),
        "calibration": verdict_rows("", "passed", "flagged"),
    }
    claims = verdict_rows("reproduced", "undecided", "undecided", "not tested")
    pattern = {"folder": "logs/scores", "regex": r"logs/scores/(?P<n>\d+)\.log$"}
    Path("logs/certified").mkdir()
    Path("logs/certified/m.log").write_text(
        json.dumps(asdict(RECORD) | {"seconds": 45.0, "images": 3})
    )
    certifying = {"folder": "logs/certified", "regex": r"logs/(?P<dataset>.+)/(?P<model>m)\.log$"}
    said = script.main(
        template=str(TEMPLATE),
        **{name: write_csv(tmp_path / f"{name}.csv", content) for name, content in csvs.items()},
        replication=[write_csv(tmp_path / "replication.csv", claims)],
        certified=[write_csv(tmp_path / "certified.csv", certified_rows({8: 0.5}))],
        files=list(SHOWN),
        entries=[
            {"name": name, "group": group, "text": caption, "params": {"name": EVIL}}
            for name, group in SHOWN.values()
        ],
        content={
            "main_table": "tables-table_1",
            "models": ["m", EVIL],
            "note": f"the note of {EVIL}",
            "configuration": {"seed": 1, "images": {"note": EVIL}},
            "versions": {"python": "3"},
        },
        logs={"score": [pattern], "certify_model": [certifying]},
        page="report.html",
        answer="answer.json",
    )
    assert said.startswith("m is not robust within l_inf 4/255.")
    return Path("report.html").read_text()


def test_a_page_needs_nothing_but_itself(run):
    page = Page(run)
    for address in page.addresses:
        assert address.startswith(("#", "data:image/")), address
        if address.startswith("#"):
            assert address[1:] in page.ids
    assert not re.search(r"@import|url\(|https?:", run)
    assert len(page.ids) == len(set(page.ids))


def test_the_answer_comes_first(run):
    page = Page(run)
    assert page.headings[1:4] == ["Is it robust?", "How sure is that?", "What next?"]
    answer = json.loads(Path("answer.json").read_text())
    words = "".join(page.words).replace("\u00a0", " ")
    positions = [words.index(text) for texts in answer["sentences"].values() for text in texts]
    assert positions == sorted(positions)
    assert positions[-1] < words.index("Accuracy under attack\n")


def test_every_table_and_figure_is_on_the_page(run):
    page = Page(run)
    assert {"tables-table_2", "figures-figure_1", "figures-figure_5", "main"} <= set(page.ids)
    assert run.count("<details id=") == 4, "the main table is not folded"
    sizes = []
    for image in page.images:
        kind, _, data = image["src"].partition(";base64,")
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        assert kind == f"data:image/{decoded.format.lower()}"
        assert image["alt"]
        sizes.append(decoded.size)
    assert sizes == [(30, 20), (1600, 400)], "groups are in order, large pictures are made smaller"


def test_tables_have_their_parts_and_keep_their_shape(run):
    page = Page(run)
    words = "".join(page.words)
    assert "A part" in page.headings
    assert "Its remark." in words
    # Five tables with three rows of two cells each.
    assert page.rows.count(2) >= 5 * 3
    assert "<strong>1</strong> to 2" in run
    assert "<code>b</code>" in run


def test_whatever_is_shown_is_escaped(run):
    assert "<script" not in run
    assert "a <b> processor" not in run
    words = "".join(Page(run).words)
    # Five tables have it in a cell and below, seven captions, three headings, note and settings.
    assert words.count("<script>") >= 5 * 2 + 7 + 3
    assert "a <b> processor" in words


def test_the_note_is_said_once(run):
    words = "".join(Page(run).words)
    position = words.index("seed: 1")
    assert words[:position].count("the note") == 1


def test_checks_calibration_and_times_are_said(run):
    words = " ".join(" ".join(Page(run).words).split())
    assert "3 jobs, 49.0 s in total, at most 101 MB" in words
    assert "m without a defence certified 3 15.0 s" in words
    assert "a <b> processor, 2 cores 2" in words
    assert "cpu (2 threads), float32 3" in words
    assert "m without a defence 1 0 0 1" in words
    assert "1 passed, 1 flagged." in words


def test_the_template_misses_nothing_in_silence():
    with pytest.raises(Exception, match="undefined"):
        pages.fill("{{ nothing }}")
    assert pages.fill("{{ text }}", text="<") == "&lt;"

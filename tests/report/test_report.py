"""The page that tells what a run found."""

import base64
import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import report as script
from advrob.findings import tables
from advrob.report import page as report
from conftest import ROOT

EVIL = "<script>alert(1)</script>&\"'"
TEMPLATE = ROOT / "workflow/report/page.html"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What is in a page; an assertion fails where elements do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.images, self.words = [], [], [], [], []
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

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def robustness_rows(**worst):
    """Rows of ``table_robustness.csv`` for networks m/<defence> with so many of 100 images."""
    rows = []
    for defence, right in worst.items():
        cells = {("none", "original"): 0.8, ("adaptive", "pgd"): 0.3}
        if defence != "none":
            cells |= {("static", "pgd"): 0.6, ("static", "square"): 0.7}
        cells["adaptive", "worst case"] = right / 100
        rows += [
            {
                **{"model": "m", "defence": defence, "knowledge": known, "attack": attack},
                **{"n": "100", "accuracy": f"{share}", "ci_low": f"{share - 0.1:.6f}"},
                **{"ci_high": f"{share + 0.1:.6f}", "spread": "0", "checks": "passed"},
            }
            for (known, attack), share in cells.items()
        ]
    return rows


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's files, and the page that is made of them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("tables", "figures", "benchmarks/scores", "logs/scores"):
        (tmp_path / folder).mkdir(parents=True)
    draw = np.random.default_rng(0)
    photograph = draw.integers(0, 256, (500, 2000, 3)).astype(np.uint8)
    Image.fromarray(photograph).save("figures/figure_5.png")
    Image.fromarray(photograph[:20, :30]).save("figures/figure_1.png")
    text = tables.markdown(("Data set", "Accuracy, %"), [(EVIL, "12.50"), ("`b`", "**1** to 2")])
    for name in ("table_1", "table_2"):
        Path(f"tables/{name}.md").write_text(f"# Title\n\n{text}\n\n{EVIL}\n\nthe note\n")
    for number, seconds in enumerate((1.5, 2.5)):
        Path(f"benchmarks/scores/{number}.tsv").write_text(
            f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{100 + number}\n"
        )
        Path(f"logs/scores/{number}.log").write_text(
            "on vm (a <b> processor, 2 cores), threads: 1\n"
            "score m/none on original: 100 images on cpu (2 threads) in float32\n"
        )
    caption = "What *this* is.\n{{ snakemake.params.note or '' }}"
    entries = [
        ("tables/table_1.md", "Table 1", "2. Attacks"),
        ("tables/table_2.md", "Table 2", "2. Attacks"),
        ("figures/figure_1.png", f"Figure {EVIL}", "1. Models"),
        ("figures/figure_5.png", "Figure 5", "2. Attacks"),
    ]
    verdicts = [{"verdict": v} for v in ("reproduced", "undecided", "undecided", "not tested")]
    pattern = {"folder": "benchmarks/scores", "regex": r"benchmarks/scores/(?P<n>\d+)\.tsv$"}
    log = {"folder": "logs/scores", "regex": r"logs/scores/(?P<n>\d+)\.log$"}
    found = script.main(
        template=str(TEMPLATE),
        robustness=write_csv(tmp_path / "robustness.csv", robustness_rows(none=10, noise=12)),
        replication=write_csv(tmp_path / "replication.csv", verdicts),
        entries=[
            {"file": file, "name": name, "group": group, "text": caption, "params": {}}
            for file, name, group in entries
        ],
        main_table="tables-table_1",
        models=["m", EVIL],
        note="the note",
        settings={"seed": 1, "images": {"note": EVIL}},
        versions={"python": "3"},
        jobs={"score": {"benchmark": pattern, "log": log}},
        page="report.html",
    )
    assert found.startswith("m without a defence")
    return Path("report.html").read_text()


def test_a_page_needs_nothing_but_itself(run):
    page = Page(run)
    for address in page.addresses:
        assert address.startswith(("#", "data:image/")), address
        if address.startswith("#"):
            assert address[1:] in {*page.ids, "tables-replication"}
    assert not re.search(r"@import|url\(|https?:", run)
    assert len(page.ids) == len(set(page.ids))


def test_every_table_and_figure_is_on_the_page(run):
    page = Page(run)
    assert {"tables-table_2", "figures-figure_1", "figures-figure_5", "main"} <= set(page.ids)
    assert run.count("<details id=") == 1, "the main table is not folded"
    sizes = []
    for image in page.images:
        kind, _, data = image["src"].partition(";base64,")
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        assert kind == f"data:image/{decoded.format.lower()}"
        assert image["alt"]
        sizes.append(decoded.size)
    assert sizes == [(30, 20), (1600, 400)], "groups are in order, large pictures are made smaller"


def test_whatever_is_shown_is_escaped(run):
    assert "<script" not in run
    assert "a <b> processor" not in run
    words = "".join(Page(run).words)
    assert words.count("<script>") >= 6
    assert "a <b> processor" in words


def test_the_note_is_said_once(run):
    assert run.count("the note") == 1


def test_times_are_summed_and_machines_counted(run):
    words = " ".join(" ".join(Page(run).words).split())
    assert "2 jobs, 4.0 s in sum, at most 101 MB" in words
    assert "a <b> processor, 2 cores) 2" in words
    assert "cpu (2 threads), float32 2" in words


@pytest.mark.parametrize(
    ("worst", "sentence"),
    [
        ({"none": 10, "noise": 12}, "which these images do not tell from no defence at all"),
        ({"none": 10, "noise": 45}, "more than without a defence, beyond what chance explains"),
        ({"none": 10, "noise": 12, "pca": 50}, "the best of its defences, pca, 50.0\u00a0%"),
        ({"noise": 12}, "noise, 12.0\u00a0% (2.0 to 22.0) are left; an attacker who does not know"),
    ],
)
def test_an_answer_says_what_is_left(worst, sentence):
    networks = report.holdings(robustness_rows(**worst))
    text = " ".join(report.answer(networks, {"reproduced": 1, "undecided": 2}))
    assert sentence in text
    assert "leaves 60.0\u00a0%" in text, "the weakest attack result that does not know the defence"
    assert "Of the 3 claims and numbers" in text
    assert "Checks" not in text


def test_failed_checks_are_part_of_the_answer():
    rows = [row | {"checks": "failed: has gradients"} for row in robustness_rows(none=3)]
    assert "Checks of the attacks failed for m/none" in " ".join(
        report.answer(report.holdings(rows), {"reproduced": 1})
    )


def test_captions_cannot_run_or_read_anything(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    for text in (f".. include:: {secret}", ".. raw:: html\n\n   <script>x</script>"):
        try:
            html = str(report.caption(text, {}))
        except Exception as error:
            html = str(error)
        assert "hidden" not in html
        assert "<script" not in html
    assert "&lt;i&gt;" in report.caption("{{ snakemake.params.note }}", {"note": "<i>"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (7265, "2 h 01 min")],
)
def test_durations(seconds, text):
    assert report.duration(seconds) == text


def test_measurements_that_snakemake_lacks_count_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.tsv").write_text("s\th:m:s\tmax_rss\n0.1\t0:00:00\tNA\n")
    (timing,) = report.timings({"copy": {"folder": ".", "regex": r"a\.tsv$"}})
    assert (timing.jobs, timing.memory) == (1, 0)

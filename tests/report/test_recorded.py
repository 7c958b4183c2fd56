"""The page of results says what was recorded, and nothing typed by hand."""

import importlib.util
import json
import subprocess
import sys

import pytest

from conftest import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("record", ROOT / "benchmarks/record.py")
record = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(record)


@pytest.mark.parametrize("path", record.PAGES, ids=lambda path: path.name)
def test_the_page_says_what_was_recorded(path):
    text = path.read_text(encoding="utf-8")
    assert record.BLOCK.search(text)
    assert record.page(text) == text, "run: python benchmarks/record.py"


def test_a_changed_number_is_noticed():
    text = record.PAGES[0].read_text(encoding="utf-8")
    block = record.BLOCK.search(text)
    changed = text.replace(block[0], block[0].replace(" %", " percent").replace(" |", " 1|"))
    assert changed != text
    assert record.page(changed) == text


def test_a_run_is_recorded(tmp_path):
    folder = tmp_path / "run"
    (folder / "results/tables").mkdir(parents=True)
    table = {"title": "T", "header": ["a"], "lines": [["1.5"]], "remark": "R.", "parts": []}
    (folder / "results/tables/t.json").write_text(json.dumps(table | {"note": None}))
    (folder / "results/answer.json").write_text(json.dumps({"sentences": {"robust": ["It is."]}}))
    run = record.recorded(folder, ["t"], [ROOT / "config.yaml"])
    assert record.block(run, "t") == "### T\n\n| a |\n| --- |\n| 1.5 |\n\nR."
    assert record.block(run, "answer") == "It is."
    assert record.block(run, "run").startswith("Configuration: `config.yaml`. Commit ")


def test_a_block_may_show_some_columns(tmp_path, monkeypatch):
    table = {"title": "T", "header": ["a", "b of c", "d"], "lines": [["1", "2", "3"]]}
    kept = {"tables": {"t": table | {"remark": "R.", "parts": [], "note": None}}}
    (tmp_path / "r.json").write_text(json.dumps(kept))
    monkeypatch.setattr(record, "RECORDED", tmp_path)
    page = record.page("<!-- recorded: r t of d, b of c -->\nold\n<!-- end -->")
    assert "| d | b of c |\n| --- | --- |\n| 3 | 2 |" in page
    assert page.endswith("<!-- end -->")
    assert record.page(page) == page


def test_a_folder_without_the_table_is_named(tmp_path):
    command = [sys.executable, "benchmarks/record.py", "x", str(tmp_path), "--table", "t"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "t.json" in done.stderr

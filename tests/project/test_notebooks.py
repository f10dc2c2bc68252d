"""Each notebook of the documentation runs, and shows what it was saved with."""

import importlib.util
import re

import pytest

from tests.support.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
VARIES = re.compile(r"(?m)^  (run|time)  .*$")
"""Ids and times of runs."""

spec = importlib.util.spec_from_file_location("notebooks", ROOT / ".ci" / "notebooks.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)


def shown(output):
    """Return the text of an output, which for a picture is that of its figure."""
    data = output.get("data", {"text/plain": output.get("text")})
    return VARIES.sub("", "".join(data.get("text/html", data["text/plain"])))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_was_saved_with(path, tmp_path, monkeypatch):
    for package in ("langgraph", "langchain", "pandas"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = notebooks.load(path)
    for cell, outputs in notebooks.run_cells(notebook):
        assert list(map(shown, outputs)) == list(map(shown, cell["outputs"])), cell["source"]
    assert any(output["output_type"] == "display_data" for output in outputs_of(notebook))


def outputs_of(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_page_whose_links_lead_somewhere(path):
    page = notebooks.as_page(path)
    assert page.startswith("# ")
    assert page.count("```") % 2 == 0
    links = re.findall(r"\]\(([^)#]+)", page)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []

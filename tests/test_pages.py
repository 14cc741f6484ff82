"""What the site is made of: pages of notebooks with described figures, a start, a reference."""

import re
import sys

import nbformat
import pytest

from tools import site
from tools.notebooks import ROOT, Notebook, find

markdown = nbformat.v4.new_markdown_cell
BEFORE = markdown("First.\n\nThe losses of one seed:")
FIGURE = nbformat.v4.new_code_cell("draw()")


@pytest.mark.parametrize(
    "after, described",
    [
        ("Left: the *loss* $J$ falls.\nIt has to.\n\nMore.", "Left: the loss J falls. It has to."),
        (r"Below: $|\frac1mBB^\top|$ by Eq. (3).", "Below: |1/mBB^T| by Eq. (3)."),
        ("## The next thing\n\nMore.", "The losses of one seed:"),
        ("$$ x $$\n\nMore.", "The losses of one seed:"),
        ("It falls. " + 60 * "Words " + "end. Last.", "It falls."),
    ],
)
def test_a_figure_is_described_by_the_text_beside_it(after, described):
    assert site.description([BEFORE, FIGURE, markdown(after)], 2) == described


def test_no_folder_is_removed_but_an_earlier_site(tmp_path):
    output, default = tmp_path / "out", tmp_path / "build/site"
    site.clear(output, default)  # there is none
    output.mkdir()
    site.clear(output, default)
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="out is there and holds no site: give another folder"):
        site.build(tmp_path, output)
    with pytest.raises(ValueError, match="thesis.tex is there"):
        site.clear(output / "thesis.tex", default)
    assert (output / "thesis.tex").read_text() == "years of work"
    (output / ".buildinfo").write_text("# Sphinx build info version 1")
    site.clear(output, default)
    default.mkdir(parents=True)
    (default / "page.html").write_text("of a build that was cut off")
    site.clear(default, default)
    assert not output.exists() and not default.exists()


def test_a_figure_at_the_end_is_described_by_the_text_before():
    assert site.description([BEFORE, FIGURE], 2) == "The losses of one seed:"


@pytest.mark.parametrize("notebook", find(ROOT), ids=lambda notebook: notebook.text.stem)
def test_every_figure_of_a_notebook_is_described(notebook):
    for cell in site.page(notebook).cells:
        outputs = cell.get("outputs", ())
        if any(mime in output.get("data", ()) for output in outputs for mime in site.IMAGE):
            text = cell.metadata["mystnb"]["image"]["alt"]
            assert len(text) > 20 and text[0] not in "#|$!"


def test_line_art_is_shown_sharp_and_pixels_as_they_are():
    notebook = Notebook(ROOT, next((ROOT / "notebooks").glob("07_*.py")).relative_to(ROOT))
    cells = {cell.source.splitlines()[-1]: cell for cell in site.page(notebook).cells}
    drawn = cells['save_figure(fig, "07_gap")'].outputs[0].data
    assert list(drawn) == ["image/svg+xml"] and "<svg" in drawn["image/svg+xml"]
    classes = {
        name: cell.metadata["mystnb"]["image"].get("classes")
        for name, cell in cells.items()
        if name.startswith("save_figure")
    }
    assert classes['save_figure(fig, "07_gap")'] == "line-art"
    assert classes['save_figure(fig, "07_flips")'] is None  # holds a picture of bits
    assert "image/png" in cells['save_figure(fig, "07_pictures", png=True)'].outputs[0].data


def shown(number):
    """The notebook of this number with its page."""
    notebook = find(ROOT, [number])[0]
    return notebook, site.page(notebook)


def test_a_page_begins_with_its_number_and_hides_the_set_up_cell():
    _, page = shown("05")
    assert page.cells[0].source.startswith("# 05 Take the objective apart")
    assert "remove-cell" in page.cells[1].metadata.tags
    assert not any("remove-cell" in cell.metadata.get("tags", ()) for cell in page.cells[2:])


def test_exports_of_more_than_a_screen_are_folded_under_their_names():
    notebook, page = shown("08")
    for before, cell in zip(notebook.cells, page.cells, strict=True):
        tags = before.metadata.get("tags", [])
        long = "export" in tags and before.source.count("\n") + 1 > site.SCREEN
        assert ("hide-input" in cell.metadata.get("tags", [])) == (long or "hide-input" in tags)
    labels = [cell.metadata.get("mystnb", {}).get("code_prompt_show", "") for cell in page.cells]
    assert any(re.fullmatch(r"Show the \d+ lines of UHBDNN", label) for label in labels)


def test_long_sentences_are_broken_and_rows_of_tables_are_not():
    row = "method   " + 30 * "  12.34"
    sentence = "the weights " + 20 * "do not fit "
    broken = site.fitted(f"{sentence}\n{row}\nshort\n").split("\n")
    assert len(broken) > 4 and max(map(len, broken[:-3])) <= site.WIDTH
    assert " ".join(" ".join(broken[:-3]).split()) == sentence.strip()
    assert broken[-3:] == [row, "short", ""]


def test_a_hint_is_markdown_on_its_page():
    _, page = shown("05")
    text = "\n".join(cell.source for cell in page.cells)
    assert "<summary>Hint</summary>\n\nSet the second half of Eq. (3) to zero." in text
    assert len(re.findall("</summary>\n\n", text)) == text.count("<summary>") > 8


def test_the_lecturer_plans_with_the_reading_times_of_the_readme():
    row = r"^\| \[(\d\d[a-z]?)\b[^|]*\|(?:[^|]*\|)? (\d+ (?:min|h)) \|"
    times = re.compile(row, re.MULTILINE)
    readme = dict(times.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    plan = dict(times.findall((ROOT / "site/lecturer.md").read_text(encoding="utf-8")))
    assert len(plan) == 13 and plan.items() <= readme.items()


def test_the_questions_of_the_examination_fill_its_minutes():
    text = (ROOT / "site/lecturer.md").read_text(encoding="utf-8")
    minutes = [int(m) for m in re.findall(r"^\*\*\d+\*\* \((\d+) min\)", text, re.MULTILINE)]
    assert f"The minutes add up to {sum(minutes)}." in text and len(minutes) == 12


@pytest.mark.parametrize("number", "00 01 02 03 04 05 06 07 08 09 10 14 15".split())
def test_a_notebook_of_the_path_asks_and_answers(number):
    text = "\n".join(cell.source for cell in find(ROOT, [number])[0].cells)
    section = text.partition("\n## Questions\n")[2].partition("\n## ")[0]
    asked = re.findall(r"^\*\*Question (\d)\.\*\*", section, re.MULTILINE)
    assert asked == [str(k) for k in range(1, len(asked) + 1)] and 3 <= len(asked) <= 5
    assert section.count("<details><summary>Answer</summary>\n\n") == len(asked)


def test_the_start_is_the_readme_with_badges_of_our_own():
    notebooks = find(ROOT)
    page = site.home(ROOT, notebooks)
    assert "badge" not in page
    assert re.search(r"\[Open in Colab\]\(https://colab[^)]*\)\{\.launch\}", page)
    assert "(figures/00_network.svg){.line-art}" in page
    for notebook in notebooks:
        place = notebook.text.with_suffix("").as_posix()
        assert f"\n{place}\n" in page or f"<{place}>" in page


def test_the_reference_has_every_module_those_of_the_notebooks_first(tmp_path):
    site.write_reference(ROOT, tmp_path, find(ROOT))
    made = {path.stem for path in tmp_path.glob("*.md")} - {"index"}
    assert {"metrics", "baselines.kernels", "course.plotting", "hashing"} <= made
    table = (tmp_path / "index.md").read_text()
    order = [table.index(f"({name}.md)") for name in ("metrics", "dcc", "baselines.kernels")]
    assert order == sorted(order) and order[-1] < table.index("(course.plotting.md)")


def test_slides_are_the_tagged_cells_under_the_headings_of_their_sections():
    (deck,) = site.decks(find(ROOT, ["07"])).values()
    sources = [cell.source for cell in deck.cells]
    assert sources[0].startswith("# 07 Find the best codes") and "\n" not in sources[0]
    assert sources[1] == "## The problem" and "\\tag{1}" in sources[2]
    last = deck.cells[-1]
    assert sources[-2] == "## What the bits draw" and "07_pictures" in last.source
    assert "remove-input" in last.metadata.tags and last.metadata["mystnb"]["image"]["alt"]
    tagged = [
        cell for cell in find(ROOT, ["07"])[0].cells if "slide" in cell.metadata.get("tags", ())
    ]
    assert sum(not source.startswith("#") for source in sources) == len(tagged) > 7
    assert site.decks(find(ROOT, ["02b"])) == {}


def test_a_folder_that_cannot_be_made_is_refused_before_the_site_is_built(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setattr(sys, "argv", ["site", "--print", str(tmp_path / "taken")])
    monkeypatch.setattr(site, "build", lambda *_: pytest.fail("the site is built in vain"))
    with pytest.raises(OSError, match="directory.*taken"):
        site.main()


def test_without_a_browser_one_sentence_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    monkeypatch.setattr(sys, "argv", ["site", "--print", str(tmp_path)])
    monkeypatch.setattr(site, "build", lambda *_: pytest.fail("the site is built in vain"))
    with pytest.raises(ValueError, match="^Playwright, which steers the browser, does not start: "):
        site.main()

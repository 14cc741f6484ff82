"""What the site is made of: pages of notebooks with described figures, a start, a reference."""

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
    assert "image/png" in cells['save_figure(fig, "07_pictures", png=True)'].outputs[0].data


def test_the_start_is_the_readme_with_links_in_place_of_badges():
    notebooks = find(ROOT)
    page = site.home(ROOT, notebooks)
    assert "badge" not in page
    assert "[Open in Colab](https://colab.research.google.com/github/" in page
    for notebook in notebooks:
        assert f"<{notebook.text.with_suffix('').as_posix()}>" in page


def test_the_reference_has_every_module_those_of_the_notebooks_first(tmp_path):
    site.write_reference(ROOT, tmp_path, find(ROOT))
    made = {path.stem for path in tmp_path.glob("*.md")} - {"index"}
    assert {"metrics", "baselines.kernels", "course.plotting", "hashing"} <= made
    table = (tmp_path / "index.md").read_text()
    order = [table.index(f"({name}.md)") for name in ("metrics", "dcc", "baselines.kernels")]
    assert order == sorted(order) and order[-1] < table.index("(course.plotting.md)")

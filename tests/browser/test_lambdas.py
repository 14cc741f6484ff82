"""The widgets of notebook 14 in JupyterLab: sliders by keyboard, over the recorded trainings."""

import re

import pytest

from bdnn.course.explorer import VALUES, Grid, defaults, describe, label
from tools.grid import FILE

METHOD, PATIENCE = "DeepHashing", 60_000  # ms, for a busy machine


@pytest.fixture
def explorer(lab, page, expect):
    """The output of the notebook's cell with sliders, after all cells have run."""
    lab.open(page, "notebooks/14_lambdas.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.run_all(page)
    cell = page.locator(".jp-Notebook .jp-CodeCell", has=page.locator(".widget-slider"))
    expect(cell.get_by_role("status")).to_be_visible(timeout=2 * PATIENCE)
    cell.scroll_into_view_if_needed()
    return cell


def test_a_slider_moves_to_another_recorded_training(page, explorer, expect, picture):
    grid, start = Grid.read(FILE), defaults(METHOD)
    status, image = explorer.get_by_role("status"), explorer.locator("img")
    expect(status).to_have_text(describe(grid.find(METHOD, start)))
    for name, values in VALUES[METHOD].items():
        row = explorer.locator(".widget-slider")
        row = row.filter(has=page.get_by_text(re.compile(f"^{label(name)}$")))
        row.locator(".noUi-handle").focus()
        at = values.index(start[name])
        for key, value in (("ArrowRight", values[at + 1]), ("ArrowLeft", start[name])):
            page.keyboard.press(key)
            text = describe(grid.find(METHOD, start | {name: value}))
            expect(status).to_have_text(text, timeout=PATIENCE)
            expect(image).to_have_attribute("alt", text)
    picture(page, "sliders")

"""Notebook 14 in JupyterLab: the explorer over the recorded trainings, and one trained just now."""

from bdnn.course.explorer import Grid, defaults
from tests.browser.test_explorer import line, same_numbers, slider
from tools.grid import FILE

PATIENCE = 180_000  # ms, for a busy machine that trains


def test_the_view_moves_and_shows_a_training_of_ones_own(lab, page, expect, picture):
    lab.open(page, "notebooks/14_lambdas.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.run_all(page)
    grid, explorer = Grid.read(FILE), page.locator("#lambdas")
    expect(explorer.locator(".line")).to_contain_text("The paper's point", timeout=PATIENCE)
    slider(explorer, "lambda1").focus()
    page.keyboard.press("End")
    row = grid.find("UHBDNN", defaults("UHBDNN") | {"lambda1": 1e-2})
    expect(explorer.locator(".line")).to_contain_text("λ1 = 0.01")
    same_numbers(explorer.locator(".line").text_content(), line(grid, row))
    mine = page.locator("#mine .line")
    expect(mine).to_contain_text("one seed", timeout=PATIENCE)
    mine.scroll_into_view_if_needed()
    picture(page, "mine")
    widgets = page.locator(".widget-interact")
    expect(widgets.locator(".widget-slider")).to_have_count(5)
    widgets.locator(".widget-slider .noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    widgets.get_by_role("button", name="Train").click()
    expect(page.locator("#trained .line")).to_contain_text("λ1 = 1.25", timeout=PATIENCE)

"""The explorer of notebook 14 in JupyterLab: sliders by keyboard and by mouse, live training."""

import re

import pytest
from threadpoolctl import threadpool_limits

from bdnn.course.explorer import (
    PAIR,
    SHORTER,
    VALUES,
    Grid,
    defaults,
    describe,
    describe_pair,
    label,
    make_estimator,
    observe,
)
from bdnn.data import load
from tools.grid import FILE

PATIENCE = 60_000  # ms, for a busy machine


@pytest.fixture(scope="module")
def recorded():
    return Grid.read(FILE)


@pytest.fixture
def explorer(lab, page, expect):
    """The output of the notebook's last cell, after all cells have run."""
    lab.open(page, "notebooks/14_lambdas.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.run_all(page)
    cell = page.locator(".jp-Notebook .jp-CodeCell", has=page.locator(".widget-slider"))
    expect(cell.get_by_role("status")).to_be_visible(timeout=2 * PATIENCE)
    cell.scroll_into_view_if_needed()
    return cell


def slider(explorer, name):
    """The handle of a weight's slider."""
    text = re.compile(f"^{label(name)}$")
    row = explorer.locator(".widget-slider").filter(has=explorer.page.get_by_text(text))
    return row.locator(".noUi-handle")


def drag(page, handle, share):
    """Drag a handle to a place on its track."""
    handle.scroll_into_view_if_needed()
    box, track = handle.bounding_box(), handle.locator("xpath=../..").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], y, steps=5)
    page.mouse.up()


def says(explorer, expect, text):
    expect(explorer.get_by_role("status")).to_contain_text(text, timeout=PATIENCE)


def redrawn(explorer, expect, before):
    """The picture is another one, and says in words what the line says."""
    image = explorer.locator("img")
    expect(image).not_to_have_attribute("src", before, timeout=PATIENCE)
    assert image.get_attribute("alt") == explorer.get_by_role("status").inner_text()
    return image.get_attribute("src")


def test_sliders_and_live_training(page, explorer, expect, picture, recorded):
    labels = load("digits").labels.query
    for method, values in VALUES.items():
        if method == "DeepHashing":
            explorer.get_by_role("button", name="Deep Hashing").click()
        start = defaults(method)
        says(explorer, expect, describe(recorded.find(method, start)))
        for name, all_values in values.items():
            shown = explorer.locator("img").get_attribute("src")
            slider(explorer, name).focus()
            page.keyboard.press("ArrowRight")
            beyond = start | {name: all_values[all_values.index(start[name]) + 1]}
            row = recorded.find(method, beyond)
            says(explorer, expect, f"{describe(row)} {describe_pair(row, labels, *PAIR)}")
            shown = redrawn(explorer, expect, shown)
            drag(page, slider(explorer, name), 0)
            row = recorded.find(method, start | {name: all_values[0]})
            says(explorer, expect, describe(row))
            redrawn(explorer, expect, shown)
            explorer.get_by_role("button", name="reset").click()
            says(explorer, expect, describe(recorded.find(method, start)))
    picture(page, "recorded")
    live(page, explorer, expect, picture)


def live(page, explorer, expect, picture):
    """Train from scratch, go on from there by keyboard, start another one and cancel it."""
    explorer.get_by_role("button", name="UH-BDNN").click()
    explorer.get_by_role("button", name="live").click()
    says(explorer, expect, "from scratch")
    shown = explorer.locator("img").get_attribute("src")
    slider(explorer, "lambda2").focus()
    page.keyboard.press("ArrowRight")
    says(explorer, expect, f"on from the solution before. {describe(went_on('lambda2', 0.5))}")
    redrawn(explorer, expect, shown)
    picture(page, "live")
    text = explorer.get_by_role("status").inner_text()
    cancel = explorer.get_by_role("button", name="cancel")
    expect(cancel).to_be_disabled()
    run_in_kernel(page, "SHORTER['UHBDNN'] |= {'max_alternations': 10_000, 'patience': 10_000}")
    slider(explorer, "lambda3").focus()
    page.keyboard.press("ArrowRight")
    expect(cancel).to_be_enabled(timeout=PATIENCE)
    expect(explorer.locator(".widget-hprogress")).to_contain_text(re.compile(r"^\d\d?% done"))
    cancel.focus()
    page.keyboard.press("Enter")
    says(explorer, expect, "Cancelled: the training before is shown.")
    assert explorer.get_by_role("status").inner_text().endswith(text.partition(". ")[2])
    expect(slider(explorer, "lambda3")).to_have_attribute("aria-valuenow", "3.0")
    expect(cancel).to_be_disabled()


def went_on(name, value):
    """The row of a training that goes on from the paper's values, made without widgets."""
    digits, start = load("digits"), defaults("UHBDNN")
    with threadpool_limits(1):
        before = make_estimator("UHBDNN", start).fit(digits.train)
        after = make_estimator("UHBDNN", start | {name: value}, **SHORTER["UHBDNN"])
        after.fit(digits.train, start=before)
    return observe("UHBDNN", start | {name: value}, 0, after, digits)


def run_in_kernel(page, code):
    """Let the notebook's kernel run a line, beside the cells."""
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    page.evaluate(f"code => {kernel}.requestExecute({{ code }}).done.then(() => null)", code)

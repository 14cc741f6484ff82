"""The explorer without a kernel, opened from the file system: keys, mouse, pictures, text."""

import re

import numpy as np
import pytest

from bdnn.course.explorer import (
    N_NEIGHBOURS,
    VALUES,
    Grid,
    defaults,
    describe,
    explorer_page,
    gallery_codes,
    label,
)
from bdnn.data import load
from bdnn.metrics import hamming_distances
from tools.grid import FILE
from tools.notebooks import ROOT
from tools.site import OUTPUT

HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Explorer</title>'
HEAD += '<meta name="viewport" content="width=device-width">'


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def grid():
    return Grid.read(FILE)


@pytest.fixture(scope="module")
def address(grid, digits, tmp_path_factory):
    """A page with two explorers; each must keep to itself."""
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    parts = [explorer_page(grid, digits, name=name) for name in ("one", "two")]
    path.write_text(HEAD + "<body><main><h1>Explorers</h1>" + "".join(parts), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def explorer(page, address):
    page.goto(address)
    return page.locator("#one")


def slider(explorer, name):
    return explorer.get_by_label(label(name), exact=False).and_(
        explorer.locator("input[type=range]")
    )


def drag(page, handle, share):
    """Drag the handle of a range to a place on its track."""
    handle.scroll_into_view_if_needed()
    box, value = handle.bounding_box(), int(handle.input_value())
    y, thumb = box["y"] + box["height"] / 2, 16
    here = value / int(handle.get_attribute("max"))
    page.mouse.move(box["x"] + thumb / 2 + here * (box["width"] - thumb), y)
    page.mouse.down()
    page.mouse.move(box["x"] + thumb / 2 + share * (box["width"] - thumb), y, steps=4)
    page.mouse.up()


def gallery_neighbours(codes, i):
    """Numbers of the nearest to picture i, ties by number, without i; the distances of all."""
    distances = hamming_distances(codes[i : i + 1], codes)[0].astype(int)
    order = np.argsort(distances, kind="stable")
    return order[order != i][:N_NEIGHBOURS], distances


def describe_pair(row, labels, first, second):
    """What the page should say of two pictures and their neighbours."""
    codes = gallery_codes(row)
    same = [np.sum(labels[gallery_neighbours(codes, i)[0]] == labels[i]) for i in (first, second)]
    differ = np.sum(codes[first] != codes[second])
    return (
        f"Pictures {first} (a {labels[first]}) and {second} (a {labels[second]}) differ in "
        f"{differ} of {codes.shape[1]} bits; of their {N_NEIGHBOURS} nearest, "
        f"{same[0]} and {same[1]} show the same digit."
    )


def check(explorer, expect, row, labels, first=3, second=7):
    """Text, bars, matrix, codes and neighbours must be those of the row."""
    line = explorer.locator(".line")
    expect(line).to_contain_text(f"{describe(row)} {describe_pair(row, labels, first, second)}")
    bars = explorer.locator(".share svg title").all_text_contents()
    assert bars == [f"bit {k}: {s / 10:g} %" for k, s in enumerate(row["share"], 1)]
    L, codes = len(row["share"]), gallery_codes(row)
    cells = explorer.locator(".correlation svg title").all_text_contents()
    assert len(cells) == L * (L - 1)
    r = row["correlation"][0] / 100
    assert cells[0] == f"bits 1 and 2: {r:.2f}" or (r == 0 and cells[0].endswith("0.00"))
    for k, i in enumerate((first, second)):
        shown = explorer.locator(".code").nth(k).text_content()
        assert shown == "".join("■" if bit > 0 else "□" for bit in codes[i])
        neighbours, distances = gallery_neighbours(codes, i)
        strip = explorer.locator(".strip").nth(k)
        pictures = strip.locator("svg").evaluate_all("all => all.map(s => s.ariaLabel)")
        assert pictures == [f"picture {j}, a {labels[j]}" for j in (i, *neighbours)]
        frames = strip.locator("div").evaluate_all("all => all.slice(1).map(d => d.className)")
        assert frames == ["same" if labels[j] == labels[i] else "other" for j in neighbours]


@pytest.mark.parametrize("method", VALUES)
def test_every_slider_by_keyboard_and_by_mouse(page, explorer, expect, grid, digits, method):
    labels = digits.labels.query
    if method == "DeepHashing":
        explorer.get_by_label("Deep Hashing").check()
    for name, values in VALUES[method].items():
        handle, drawing = slider(explorer, name), explorer.locator(".sweep > svg")
        before = drawing.inner_html()
        at = values.index(defaults(method)[name])
        handle.focus()
        page.keyboard.press("ArrowRight")
        row = grid.find(method, defaults(method) | {name: values[at + 1]})
        check(explorer, expect, row, labels)
        assert drawing.inner_html() != before
        assert handle.get_attribute("aria-valuetext") == f"{values[at + 1]:g}"
        drag(page, handle, 0)
        check(explorer, expect, grid.find(method, defaults(method) | {name: values[0]}), labels)
        explorer.get_by_role("button", name="Reset").click()
        check(explorer, expect, grid.find(method, defaults(method)), labels)
    expect(page.locator("#two .line")).to_contain_text(
        describe(grid.find("UHBDNN", defaults("UHBDNN")))
    )


def test_pairs_of_pictures_and_of_weights(page, explorer, expect, grid, digits):
    start, labels = defaults("UHBDNN"), digits.labels.query
    slider(explorer, "picture 1").focus()
    page.keyboard.press("End")
    drag(page, slider(explorer, "picture 2"), 0)
    check(explorer, expect, grid.find("UHBDNN", start), labels, len(labels) - 1, 0)
    slider(explorer, "lambda2").focus()
    page.keyboard.press("Home")
    slider(explorer, "lambda3").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    both = start | {"lambda2": 0.0, "lambda3": 1.0}
    check(explorer, expect, grid.find("UHBDNN", both), labels, len(labels) - 1, 0)
    slider(explorer, "lambda1").focus()  # not recorded together with the two
    page.keyboard.press("ArrowLeft")
    row = grid.find("UHBDNN", start | {"lambda1": 1e-6})
    check(explorer, expect, row, labels, len(labels) - 1, 0)
    expect(explorer.locator(".line")).to_contain_text("went back to them")
    assert slider(explorer, "lambda2").input_value() == "3"


def test_the_page_is_reached_by_tabs_and_shows_the_focus(page, explorer):
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(width.removesuffix("px")) >= 2
    ids = [f"one-{k}" for k in (0, 1, 2, 3, 4, "first", "second")]
    assert reached == ["radio", *ids, "button"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390, 360])
def test_it_fits_and_can_be_read(open_page, address, axe, picture, scheme, width):
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.locator("#one").evaluate("e => getComputedStyle(e).backgroundColor")
    shade = sum(map(int, re.findall(r"\d+", paper)[:3]))
    assert shade > 600 if scheme == "light" else shade < 200
    page.add_script_tag(path=axe)
    found = page.evaluate(
        "axe.run('#one').then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
    )
    assert found == []
    picture(page, "top")


def test_on_the_site_it_works_from_the_file_system(page, expect, grid, digits):
    made = ROOT / OUTPUT / "notebooks" / "14_lambdas.html"
    if not made.exists():
        pytest.fail("there is no site: python3 course.py site")
    page.goto(made.as_uri())
    explorer, start = page.locator("#lambdas"), defaults("UHBDNN")
    slider(explorer, "lambda1").focus()
    page.keyboard.press("End")
    row = grid.find("UHBDNN", start | {"lambda1": 1e-2})
    check(explorer, expect, row, digits.labels.query)
    drag(page, slider(explorer, "n_bits"), 1)
    check(explorer, expect, grid.find("UHBDNN", start | {"n_bits": 32}), digits.labels.query)


def test_without_javascript_it_says_so(open_page, address, expect):
    page = open_page(java_script_enabled=False)
    page.goto(address)
    expect(page.locator("#one noscript p")).to_be_visible()

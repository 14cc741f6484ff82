"""The explorer without a kernel, opened from the file system: keys, mouse, pictures, text."""

import re

import numpy as np
import pytest
from scipy import stats

from bdnn.course.explorer import (
    N_GALLERY,
    N_NEIGHBOURS,
    TITLES,
    VALUES,
    Grid,
    defaults,
    explorer_page,
    gallery_codes,
    label,
)
from bdnn.data import load
from bdnn.metrics import hamming_distances
from tests.test_explorer import reconstructed
from tools.grid import FILE
from tools.notebooks import ROOT
from tools.site import OUTPUT

HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Explorer</title>'
HEAD += '<meta name="viewport" content="width=device-width">'
MEASURES = {"precision at radius 2": "precision_at_2", "mAP": "map_standard"}


@pytest.fixture(scope="module")
def digits():
    return load("mnist5k")


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


def difference(grid, row, measure):
    """Points of percent beyond the paper's point, and half of the 95 % interval of pairs."""
    method = row["method"]
    points = row["values"], defaults(method)
    a, b = (100 * np.round(grid.each(method, point, measure), 4) for point in points)
    return np.mean(a - b), stats.t.ppf(0.975, len(a) - 1) * stats.sem(a - b)


def line(grid, row):
    """The numbers that the page should state of a row."""
    start = defaults(row["method"])
    moved = [f"{label(k)} = {v:g}" for k, v in row["values"].items() if v != start[k]]
    parts = []
    for text, measure in MEASURES.items():
        parts.append(f"{text} {100 * grid.spread(row['method'], row['values'], measure)[0]:.1f} %")
        if moved:
            d, error = difference(grid, row, measure)
            parts[-1] += f" ({'−' if d < -0.05 else '+'}{abs(d):.1f} ± {error:.1f})"
    return f"{', '.join(moved) or 'The paper’s point'.replace('’', chr(39))}: {', '.join(parts)}"


def numbers(text):
    """A text without its numbers, and the numbers: the last digit may be rounded otherwise."""
    pattern = r"\d+\.\d(?!\d)"
    return re.sub(pattern, "0", text), [float(n) for n in re.findall(pattern, text)]


def same_numbers(shown, wanted):
    (text, found), (other, exact) = numbers(shown), numbers(wanted)
    assert other in text
    assert found[: len(exact)] == pytest.approx(exact, abs=0.11)


def check(explorer, expect, grid, digits, row, query=0):
    """Text, terms, bars, matrix, pictures, codes and neighbours must be those of the row."""
    labels, codes = digits.labels.query[:N_GALLERY], gallery_codes(row)
    distances = hamming_distances(codes[query : query + 1], codes)[0].astype(int)
    nearest = np.argsort(distances, kind="stable")
    nearest = nearest[nearest != query][:N_NEIGHBOURS]
    same = labels[nearest] == labels[query]
    text = f"Query {query} is a {labels[query]}; of its {N_NEIGHBOURS} nearest {same.sum()} are"
    expect(explorer.locator(".line")).to_contain_text(text)
    same_numbers(explorer.locator(".line").text_content(), line(grid, row))
    terms = explorer.locator(".objective small").all_text_contents()
    for name, curve in row["curves"].items():
        wanted = name.replace("_", " ") + " " if name != "objective" else ""
        (value,) = re.findall(rf"^{wanted}([-\d.e]+) \(", "\n".join(terms), re.MULTILINE)
        assert float(value) == curve[-1]
    bars = explorer.locator(".share svg title").all_text_contents()
    assert bars == [f"bit {k}: {s / 10:g} %" for k, s in enumerate(row["share"], 1)]
    L = len(row["share"])
    assert len(explorer.locator(".correlation svg title").all()) == L * (L - 1)
    pictures = explorer.locator(".nearest canvas").evaluate_all("all => all.map(s => s.ariaLabel)")
    assert pictures == [f"picture {j}, a {labels[j]}" for j in nearest]
    frames = explorer.locator(".nearest li").evaluate_all("all => all.map(d => d.className)")
    assert frames == ["same" if s else "other" for s in same]
    bits = explorer.locator(".bits").evaluate_all("all => all.map(b => b.ariaLabel)")
    for shown, j in zip(bits, [query, *nearest]):
        marked = [str(k + 1) for k in np.flatnonzero(codes[j] != codes[query])]
        told = f", differs in bit {', '.join(marked)}" * bool(marked)
        assert shown == "code " + "".join("1" if b > 0 else "0" for b in codes[j]) + told
    drawn = explorer.locator(".bits").evaluate_all(
        "all => all.map(b => ['.on', '.diff'].map(s => b.querySelectorAll(s).length))"
    )
    for shown, j in zip(drawn, [query, *nearest]):
        assert shown == [np.sum(codes[j] > 0), distances[j]]
    for k, shown in enumerate((row, grid.find(row["method"], defaults(row["method"])))):
        pixels = (
            explorer.locator(".asked canvas")
            .nth(k + 1)
            .evaluate(
                "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
            )
        )
        wanted = reconstructed(shown, digits)[query].clip(0, 255)
        assert np.abs(np.array(pixels)[::4] - wanted).max() < 12  # the axes are in bytes, too


@pytest.mark.parametrize("method", VALUES)
def test_every_slider_by_keyboard_and_by_mouse(page, explorer, expect, grid, digits, method):
    start = defaults(method)
    explorer.get_by_label(TITLES[method]).check()
    for name, values in VALUES[method].items():
        handle, drawing = slider(explorer, name), explorer.locator(".sweep > svg")
        before, at = drawing.inner_html(), values.index(start[name])
        handle.focus()
        page.keyboard.press("ArrowRight")
        row = grid.find(method, start | {name: values[at + 1]})
        check(explorer, expect, grid, digits, row)
        assert drawing.inner_html() != before
        assert handle.get_attribute("aria-valuetext") == f"{values[at + 1]:g}"
        lit = explorer.locator(".objective .moved").all_text_contents()
        assert [label(name) in text for text in lit] == [True] * (name != "n_bits")
        drag(page, handle, 0)
        check(explorer, expect, grid, digits, grid.find(method, start | {name: values[0]}))
        explorer.get_by_role("button", name="Reset").click()
    check(explorer, expect, grid, digits, grid.find(method, start))
    same_numbers(
        page.locator("#two .line").text_content(),
        line(grid, grid.find("UHBDNN", defaults("UHBDNN"))),
    )


def test_one_guesses_before_the_curve_appears(page, explorer, expect, grid):
    answers, n = ("lower", "no clear change", "higher"), len(VALUES["UHBDNN"]) - 1
    asked = []
    for k in range(2 * n):
        question = explorer.locator(".guess p").text_content()
        name, value = re.search(r"What does (\S+) = (\S+) do to the precision", question).groups()
        asked.append((name, value))
        assert "guess, and the curve" in explorer.locator(".sweep figcaption").text_content()
        assert explorer.locator(".sweep .band").first.get_attribute("points").count(",") == 2
        explorer.get_by_role("button", name=answers[k % 3]).click()
        key = next(key for key in VALUES["UHBDNN"] if label(key) == name)
        row = grid.find("UHBDNN", defaults("UHBDNN") | {key: float(value)})
        d, error = difference(grid, row, "precision_at_2")
        truth = 1 if abs(d) <= error else 1 + int(np.sign(d))
        right = "and so it is" if truth == k % 3 else f"it is “{answers[truth]}”"
        expect(explorer.locator(".line")).to_contain_text(f"You said “{answers[k % 3]}”")
        expect(explorer.locator(".line")).to_contain_text(right)
        points = explorer.locator(".sweep .band").first.get_attribute("points").count(",")
        assert points == 2 * len(VALUES["UHBDNN"][key])
        expect(explorer.locator(".objective .moved")).to_contain_text(name)
        explorer.get_by_role("button", name="next question").click()
    assert asked[0] == ("λ3", "10") and len(set(asked)) == 2 * n


def test_axes_zoom_to_the_data_with_the_band_of_the_seeds(page, explorer, grid):
    slider(explorer, "lambda4").focus()
    page.keyboard.press("ArrowLeft")
    ticks = explorer.locator(".sweep svg text[text-anchor=end]").all_text_contents()
    spreads = [
        100 * np.array(grid.spread("UHBDNN", defaults("UHBDNN") | {"lambda4": value}, measure))
        for value in VALUES["UHBDNN"]["lambda4"]
        for measure in MEASURES.values()
    ]
    low, high, step = float(ticks[0]), float(ticks[-1]), float(ticks[1]) - float(ticks[0])
    assert low <= np.min(spreads) < low + step and high - step < np.max(spreads) <= high
    top, bottom = 14, 176
    for band, k in zip(explorer.locator(".sweep .band").all(), (0, 1)):
        points = [p.split(",") for p in band.get_attribute("points").split(" ")]
        heights = np.array(points, float)[:, 1]
        shown = low + (bottom - heights) / (bottom - top) * (high - low)
        lows, highs = np.array(spreads[k::2])[:, 1], np.array(spreads[k::2])[::-1, 2]
        assert shown == pytest.approx([*lows, *highs], abs=0.02 * (high - low))


def test_queries_and_pairs_of_weights(page, explorer, expect, grid, digits):
    start = defaults("UHBDNN")
    slider(explorer, "query").focus()
    page.keyboard.press("End")
    last = N_GALLERY - 1
    check(explorer, expect, grid, digits, grid.find("UHBDNN", start), last)
    slider(explorer, "lambda2").focus()
    page.keyboard.press("Home")
    slider(explorer, "lambda3").focus()
    page.keyboard.press("ArrowRight")
    both = start | {"lambda2": 0.0, "lambda3": 0.1}
    check(explorer, expect, grid, digits, grid.find("UHBDNN", both), last)
    slider(explorer, "lambda1").focus()  # not recorded together with the two
    page.keyboard.press("ArrowLeft")
    check(explorer, expect, grid, digits, grid.find("UHBDNN", start | {"lambda1": 1e-6}), last)
    expect(explorer.locator(".line")).to_contain_text("went back to them")
    assert slider(explorer, "lambda2").input_value() == "2"


def test_the_page_is_reached_by_tabs_and_shows_the_focus(page, explorer):
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.textContent"
                " || document.activeElement.type"
            )
        )
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(width.removesuffix("px")) >= 2
    sliders = [f"one-{k}" for k in (0, 1, 2, 3, 4, "query")]
    answers = ["lower", "no clear change", "higher", "next question"]
    assert reached == ["radio", "Reset to the paper's values", *answers, *sliders]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 360])
def test_it_fits_and_can_be_read(open_page, address, axe, picture, scheme, width):
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(address)
    slider(page.locator("#one"), "n_bits").focus()
    page.keyboard.press("End")  # the longest codes
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


def test_on_the_site_it_is_on_the_first_screen_and_works_from_the_file_system(
    page, expect, grid, digits
):
    made = ROOT / OUTPUT / "notebooks" / "14_lambdas.html"
    if not made.exists():
        pytest.fail("there is no site: python3 course.py site")
    assert made.stat().st_size < 1_000_000
    page.goto(made.as_uri())
    explorer, start = page.locator("#lambdas"), defaults("UHBDNN")
    box = slider(explorer, "lambda4").bounding_box()
    assert box["y"] + box["height"] < page.viewport_size["height"]
    slider(explorer, "lambda1").focus()
    page.keyboard.press("End")
    row = grid.find("UHBDNN", start | {"lambda1": 1e-2})
    check(explorer, expect, grid, digits, row)
    drag(page, slider(explorer, "n_bits"), 1)
    check(explorer, expect, grid, digits, grid.find("UHBDNN", start | {"n_bits": 32}))


def test_without_javascript_it_says_so(open_page, address, expect):
    page = open_page(java_script_enabled=False)
    page.goto(address)
    expect(page.locator("#one noscript p")).to_be_visible()

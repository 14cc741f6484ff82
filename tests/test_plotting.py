"""The style, the saved figures and the shared drawings."""

import os

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bdnn.course import plotting
from bdnn.course.plotting import (
    COLOURS,
    LOSS_TERMS,
    codes_image,
    draw_plane,
    image_grid,
    network_diagram,
    save_figure,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BDNN_FIGURES", str(tmp_path / "figures"))
    yield tmp_path / "figures"
    plt.close("all")


def draw():
    fig, (left, right) = plt.subplots(1, 2)
    codes_image(left, np.where(np.random.default_rng(0).random((8, 20)) > 0.5, 1, -1), "codes")
    for power in range(4):
        right.plot(np.linspace(0, 1), np.linspace(0, 1) ** power, label=f"$x^{power}$")
    right.legend()
    return fig


@pytest.mark.parametrize("png", [False, True])
def test_a_figure_drawn_twice_gives_the_same_bytes(folder, png):
    kind = "png" if png else "svg"
    assert save_figure(draw(), "00_one", png=png) is None
    first = (folder / f"00_one.{kind}").read_bytes()
    fig = draw()
    for _ in range(2):
        save_figure(fig, "00_one", png=png)
        assert (folder / f"00_one.{kind}").read_bytes() == first
    assert len(os.listdir(folder)) == 1  # no temporary file is left
    assert len(first) > 5000


def test_saved_figures_name_no_date_version_or_font(folder):
    save_figure(draw(), "00_one")
    svg = (folder / "00_one.svg").read_text()
    assert "<text" not in svg and "font-family" not in svg  # text is drawn as outlines
    assert "dc:date" not in svg and matplotlib.__version__ not in svg
    save_figure(draw(), "00_one", png=True)
    assert b"matplotlib" not in (folder / "00_one.png").read_bytes().lower()


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(folder):
    fig = draw()
    save_figure(fig, "00_one")
    before = (folder / "00_one.svg").read_bytes()
    fig.axes[1].set_title("$\\unknowncommand$")
    with pytest.raises(ValueError):
        save_figure(fig, "00_one")
    assert os.listdir(folder) == ["00_one.svg"]
    assert (folder / "00_one.svg").read_bytes() == before


def test_folder_is_the_repositorys_or_that_of_the_work(tmp_path, monkeypatch):
    monkeypatch.delenv("BDNN_FIGURES")
    repository = tmp_path / "repository"
    (repository / "notebooks" / "solutions").mkdir(parents=True)
    (repository / "bdnn").mkdir()
    (repository / "course.py").write_text("")
    for inside in (repository, repository / "notebooks", repository / "notebooks" / "solutions"):
        monkeypatch.chdir(inside)
        assert plotting._figures_folder() == repository / "figures"
    monkeypatch.chdir(tmp_path)
    assert plotting._figures_folder() == tmp_path / "figures"


def test_style_is_set_and_never_by_colour_alone():
    assert not plt.rcParams["axes.spines.top"] and not plt.rcParams["axes.spines.right"]
    lines = plt.subplots()[1].plot(np.zeros((2, len(COLOURS))))
    looks = [(line.get_color(), line.get_linestyle(), line._dash_pattern) for line in lines]
    assert len({str(look[1:]) for look in looks}) == len({look[0] for look in looks}) == 7
    for colour in COLOURS.values():  # visible on white
        luminance = np.dot([0.2126, 0.7152, 0.0722], np.power(to_rgb(colour), 2.2))
        assert 1.05 / (luminance + 0.05) > 2


def test_image_grid_places_images_titles_and_marks():
    images = np.arange(5 * 6).reshape(5, 2, 3)
    marks = [None, True, False, None, True]
    axes = image_grid(plt.figure(), images, list("abcde"), columns=3, marks=marks)
    assert axes.shape == (2, 3)
    for i, ax in enumerate(axes.flat):
        assert len(ax.images) == (i < 5)
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), images[3])
    assert axes[1, 1].get_title() == "e"
    assert all(ax.images[0].get_clim() == (0, 29) for ax in axes.flat[:5])
    lines = [ax.patches[0].get_linestyle() if ax.patches else None for ax in axes.flat[:5]]
    assert lines[0] is lines[3] is None and lines[1] == lines[4] == "-" != lines[2]


def test_codes_image_has_bits_down_and_samples_across():
    B = np.array([[1, -1, 1], [-1, -1, 1]])
    ax = plt.subplots()[1]
    codes_image(ax, B)
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), B)
    assert image.get_extent() == [0.5, 3.5, 2.5, 0.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sample", "bit")
    assert image.cmap(image.norm(1.0))[:3] == (0, 0, 0)  # +1 is black
    assert image.cmap(image.norm(-1.0))[:3] == (1, 1, 1)


@pytest.mark.parametrize("supervised", [False, True])
def test_network_diagram_shows_every_term_inside_the_figure(supervised):
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    network_diagram(ax, supervised)
    shown = {text.get_text() for text in ax.texts}
    other = "reconstruction" if supervised else "similarity"
    for name, (formula, colour) in LOSS_TERMS.items():
        assert ({name, formula} <= shown) == (name != other) and colour in COLOURS
    fig.canvas.draw()
    whole = fig.bbox
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert all(whole.contains(*box.min) and whole.contains(*box.max) for box in boxes)
    for i, one in enumerate(boxes):
        assert not any(one.shrunk(0.9, 0.9).overlaps(other) for other in boxes[:i])


# --- figures of recorded runs

METHODS = ["ITQ", "ITQCCA", "UHBDNN", "SHBDNN", "DeepHashing", "SupervisedDeepHashing"]


def some_rows(bits=(16, 32), seeds=3, methods=METHODS):
    """Rows as `course.py run` makes them; values are such that a mean is known by hand."""
    rows = []
    for i, method in enumerate(methods):
        for L in bits:
            for seed in range(seeds):
                value = {"precision_at_2": 10.0 * i + L + seed, "map_standard": 50.0 + seed}
                rows.append({"method": method, "bits": L, "seed": seed, **value})
    return rows


@pytest.fixture
def kept_figures(monkeypatch):
    """The figures that are drawn, not closed."""
    kept = []
    monkeypatch.setattr(plotting.plt, "close", kept.append)
    yield kept
    monkeypatch.undo()


def test_every_method_has_its_own_colour_and_marker():
    looks = [plotting.method_style(method) for method in METHODS]
    for key in ("label", "color", "marker"):
        assert len({look[key] for look in looks}) == len(METHODS)


@pytest.mark.parametrize("bits", [(16,), (16, 32, 64), (8, 16, 24, 32, 48, 64, 128)])
def test_comparison_shows_mean_and_spread_of_every_method(bits, kept_figures, folder):
    path = plotting.draw_comparison(some_rows(bits), "cmp")
    assert path == folder / "cmp.svg" and path.stat().st_size > 5000
    (fig,) = kept_figures
    assert [t.get_text() for t in fig.legends[0].get_texts()] == [
        plotting.METHOD_STYLES[method][0] for method in METHODS
    ]
    for ax, means in zip(fig.axes, (lambda i, L: 10 * i + L + 1, lambda i, L: 51)):
        assert [t.get_text() for t in ax.get_xticklabels()] == [str(L) for L in bits]
        for i, (method, drawn) in enumerate(zip(METHODS, ax.containers)):
            line, _, (bars,) = drawn.lines
            style = plotting.method_style(method)
            assert (line.get_color(), line.get_marker()) == (style["color"], style["marker"])
            np.testing.assert_allclose(line.get_ydata(orig=False), [means(i, L) for L in bits])
            assert np.abs(line.get_xdata(orig=False) - np.arange(len(bits))).max() < 0.25
            ends = [segment[:, 1] for segment in bars.get_segments()]  # sd of 0, 1, 2 is 1
            np.testing.assert_allclose(np.diff(ends, axis=1), 2.0)


def test_comparison_draws_recall_over_bytes_where_it_was_measured(kept_figures):
    rows = [row | {"recall_at_10": 7.0, "recall_at_100": 70.0} for row in some_rows((12, 64), 1)]
    plotting.draw_comparison(rows, "cmp")
    axes = kept_figures[0].axes
    assert [ax.get_xlabel() for ax in axes] == ["bytes", "bytes", "bits", "bits"]
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["2", "8"]
    heights = [np.unique(ax.containers[0].lines[0].get_ydata()).tolist() for ax in axes[:2]]
    assert heights == [[7.0], [70.0]]


def test_comparison_of_single_runs_and_of_methods_at_other_lengths(kept_figures):
    rows = some_rows((16,), 1, ["ITQ"]) + some_rows((32,), 1, ["UHBDNN"])
    plotting.draw_comparison(rows, "cmp")
    lines = [drawn.lines[0] for drawn in kept_figures[0].axes[0].containers]
    assert [len(line.get_xdata()) for line in lines] == [1, 1]
    assert [round(line.get_xdata()[0]) for line in lines] == [0, 1]


def test_a_plane_shows_its_numbers_from_the_bottom_up():
    ax = plt.figure().add_subplot()
    draw_plane(ax, np.array([[1.0, 2.0], [3.0, 40.0]]), [0.1, 10], [5, 50])
    found = {(text.get_position(), text.get_text()) for text in ax.texts}
    assert found == {((0, 0), "1.0"), ((1, 0), "2.0"), ((0, 1), "3.0"), ((1, 1), "40.0")}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["5", "50"]
    assert not ax.yaxis.get_inverted()

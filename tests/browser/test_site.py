"""The site, opened from the file system: whole, readable on a phone, accessible, searchable.

`course.py test` builds it first; for these tests alone, `python3 course.py site` does.
"""

from unicodedata import normalize

import pytest

from tools.exercises import FOLDER, texts
from tools.notebooks import ROOT, find
from tools.printing import MATHEMATICS, print_page, publish
from tools.site import OUTPUT, decks

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 703, "height": 1000}  # A4 without its margins
SLIDE = {"width": 1280, "height": 720}
DECKS = decks(find(ROOT))
MODULES = [p.relative_to(ROOT / "bdnn").with_suffix("") for p in (ROOT / "bdnn").rglob("*.py")]
PAGES = [
    *("index", "lecturer", "lineage", "formulas", "CONTRIBUTING", "search", "reference/index"),
    *(f"reference/{'.'.join(path.parts)}" for path in MODULES if not path.name.startswith("_")),
    *(notebook.text.with_suffix("").as_posix() for notebook in find(ROOT)),
    *DECKS,
    *(f"{FOLDER.as_posix()}/{name}" for name in ("README", *(t.text.stem for t in texts(ROOT)))),
]
# One page of each kind, for the checks of accessibility: what they look at is the theme's and ours.
KINDS = [
    *("index", "lecturer", "lineage", "formulas", "search", "reference/index", "reference/losses"),
    *("notebooks/05_losses", "notebooks/14_lambdas"),
    *("notebooks/solutions/05_solutions", f"{FOLDER.as_posix()}/05_exercises"),
]
BROKEN = "mjx-merror, [data-mjx-error], img:not([alt]), img[alt='']"
UNLOADED = "() => [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
# The insides of the formulas are MathJax's own, the same on every page, and most of the work.
DROP_FORMULAS = "() => document.querySelectorAll('mjx-container').forEach(e => e.remove())"
# Fetching styles would need a server.
AXE = """async (rules) => {
  const found = await axe.run({preload: false, ...(rules ? {runOnly: rules} : {})});
  const bad = found.violations.filter(v => ["serious", "critical"].includes(v.impact));
  return bad.flatMap(v => v.nodes.map(n => `${v.id}: ${n.target} ${n.failureSummary}`));
}"""
# What reaches beyond the screen and lies in nothing that scrolls.
TOO_WIDE = """() => {
  const scrolls = e => e && e.tagName !== "ARTICLE" &&
    (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  return [...document.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e))
    .map(e => e.outerHTML.slice(0, 200));
}"""
# Code that does not fit its column though its lines are as long as style allows; endless outputs.
CUT = """() => [...document.querySelectorAll("article .cell pre")]
  .filter(e => e.closest(".cell_output") ? e.scrollWidth > 1400
    : e.scrollWidth > e.clientWidth + 1 && e.textContent.split("\\n").every(l => l.length <= 100))
  .map(e => e.textContent.slice(0, 200))"""

# What reaches beyond the paper; what is there for screen readers alone is not seen.
OFF_PAPER = """() => {
  dispatchEvent(new Event("beforeprint"));
  return [...document.querySelectorAll("article *:not(svg *, mjx-assistive-mml, math, math *)")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="session")
def site():
    """The address of the site that was built last."""
    folder = ROOT / OUTPUT
    if not (folder / "index.html").exists():
        pytest.fail("there is no site: python3 course.py site")
    return folder.as_uri()


def show(page, site, name):
    """Open a page and wait until its formulas are set."""
    page.goto(f"{site}/{name}.html")
    assert page.evaluate(MATHEMATICS)


def resize(page, size):
    """Change the size of the window and give the theme, which waits 300 ms, time to answer."""
    page.set_viewport_size(size)
    page.wait_for_timeout(600)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_fits_a_phone_and_paper(name, site, page):
    show(page, site, name)
    assert page.evaluate(UNLOADED) == []
    assert page.locator(BROKEN).count() == 0
    assert page.evaluate(CUT) == []
    page.set_viewport_size(NARROW)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.evaluate(TOO_WIDE) == []
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    assert page.evaluate(OFF_PAPER) == []


@pytest.mark.parametrize("name", KINDS)
def test_a_page_is_accessible(name, site, page, axe):
    """On a phone, on a desk, and in the dark."""
    show(page, site, name)
    page.add_script_tag(path=axe)
    resize(page, NARROW)
    assert page.evaluate(AXE, ["scrollable-region-focusable"]) == []
    resize(page, WIDE)
    page.evaluate(DROP_FORMULAS)
    assert page.evaluate(AXE) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(AXE, ["color-contrast"]) == []


def test_every_page_is_tested(site):
    made = [path.relative_to(ROOT / OUTPUT) for path in (ROOT / OUTPUT).rglob("*.html")]
    pages = {path.with_suffix("").as_posix() for path in made if path.parts[0] != "_static"}
    assert pages == set(PAGES)


def test_the_search_finds_a_word_and_leads_to_its_page(site, page, expect):
    show(page, site, "index")
    page.keyboard.press("Control+k")
    page.keyboard.type("saturated")
    page.keyboard.press("Enter")
    result = page.locator("#search-results a", has_text="04 Build the encoder")
    expect(result.first).to_be_visible()
    result.first.click()
    expect(page.locator("article h1")).to_contain_text("Build the encoder")


def test_the_reader_can_choose_the_dark_theme(site, page, expect):
    show(page, site, "notebooks/07_dcc")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Color mode").click()
    page.get_by_role("button", name="Dark").click()
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


def test_a_question_is_answered_by_the_keyboard_alone(site, page, expect):
    show(page, site, "notebooks/05_losses")
    fold = page.locator("#questions details").first
    answer = fold.locator("p").first
    expect(answer).to_be_hidden()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(answer).to_be_visible()
    assert page.locator("#questions details mjx-container").count() > 3  # formulas are set


def test_code_is_copied_whole_and_outputs_are_not_offered(site, open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    show(page, site, "notebooks/05_losses")
    assert page.locator(".cell_output .copybtn").count() == 0
    code = page.locator(".cell_input", has_text="def squared_norm")
    code.hover()
    code.locator("button.copybtn").click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.strip() == code.locator("pre").inner_text().strip()


def test_a_figure_opens_by_itself_and_line_art_is_dark_in_the_dark(site, page):
    show(page, site, "notebooks/08_uh_bdnn")
    drawn = page.locator("article img.line-art").first
    assert drawn.locator("..").get_attribute("href").endswith(".svg")
    assert page.locator("article img").count() == page.locator("article a > img").count()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    styles = [f"e => getComputedStyle(e).{key}" for key in ("filter", "mixBlendMode")]
    assert [drawn.evaluate(s) for s in styles] == ["invert(1) hue-rotate(180deg)", "screen"]
    photo = page.locator("article img:not(.line-art)").first
    assert photo.evaluate(styles[0]) == "none"


def test_a_page_prints_without_what_only_a_screen_needs(site, page, expect):
    show(page, site, "notebooks/08_uh_bdnn")
    expect(page.locator(".cell_input pre", has_text="class UHBDNN")).to_be_hidden()
    page.emulate_media(media="print")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("() => document.getAnimations().length") == 0  # nothing fades in
    expect(page.locator(".cell_input pre", has_text="class UHBDNN")).to_be_visible()
    expect(page.locator("#exercises details p").first).to_be_hidden()
    title = page.get_by_role("heading", level=1, name="08 Learn binary codes")
    expect(title).to_have_count(1)
    expect(title).to_be_visible()
    for part in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".copybtn"):
        expect(page.locator(part).first).to_be_hidden()


def test_pages_print_to_one_file_with_an_outline_and_links_of_its_own(site, browser, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    publish(browser, ROOT / OUTPUT, ["index", "notebooks/07_dcc"], [], tmp_path)
    course = pypdf.PdfReader(tmp_path / "course.pdf")
    titles = [entry.title for entry in course.outline]
    assert [title.partition(" ")[0] for title in titles] == ["bdnn:", "07"]
    assert titles[1].endswith("coordinate descent, one row of bits at a time")
    first = course.get_destination_page_number(course.outline[1])
    assert 3 <= first <= 7 and 10 <= len(course.pages) - first <= 16
    lesson = "".join(page.extract_text() for page in course.pages[first:])
    assert "def coordinate_descent(" in lesson  # which the site folds
    assert "Question 3" in lesson and "diagonal, Eq. (6) takes nothing" not in lesson  # the answer
    links = [note.get_object() for page in course.pages for note in page.annotations or ()]
    assert not any("file:" in str(link) for link in links)
    places = [link["/Dest"][0] for link in links if "/Dest" in link]
    assert course.pages[first].indirect_reference in places
    formulas = pypdf.PdfReader(tmp_path / "formulas.pdf")
    assert len(formulas.pages) == 2 and "Deep Hashing" in formulas.pages[1].extract_text()


@pytest.mark.parametrize("name", DECKS)
def test_every_tagged_cell_fits_its_slide(name, site, page, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    print_page(page, ROOT / OUTPUT, name, tmp_path / "slides.pdf")
    printed = [slide.extract_text() for slide in pypdf.PdfReader(tmp_path / "slides.pdf").pages]
    headings = [cell.source[3:] for cell in DECKS[name].cells if cell.source.startswith("## ")]
    assert len(printed) == 1 + len(headings)
    for text, heading in zip(printed[1:], headings):
        assert " ".join(normalize("NFKC", text).split()).startswith(heading)  # no ligatures
    page.emulate_media(media="print")
    page.set_viewport_size(SLIDE)
    assert page.evaluate(OFF_PAPER) == []


def test_a_notebook_can_be_launched_elsewhere(site, page):
    show(page, site, "notebooks/07_dcc")
    links = page.locator(".dropdown-launch-buttons a").evaluate_all("all => all.map(a => a.href)")
    assert any("colab.research.google.com/github/" in link for link in links)
    assert any("mybinder.org/v2/gh/" in link for link in links)
    assert all("notebooks/07_dcc.ipynb" in link for link in links)

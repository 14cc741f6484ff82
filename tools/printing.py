"""The course on paper: pages of the built site, printed by the browser that the tests use."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "no browser: apt-get install chromium, or name one in the variable CHROMIUM"
ARGUMENTS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
MATHEMATICS = "() => window.MathJax?.startup?.promise.then(() => true) ?? true"
FOOT = "<p style='width: 100%; text-align: center; font: 8px sans-serif'>{}</p>"
FOOT = FOOT.format("<span class='title'></span>, page <span class='pageNumber'></span>")
NUMBERED = {"display_header_footer": True, "header_template": "<p></p>", "footer_template": FOOT}


@contextmanager
def browser():
    """Run a Chromium without a window; raise a ValueError that says what is missing for it."""
    try:
        from playwright.sync_api import sync_playwright

        playwright = sync_playwright().start()
    except Exception as error:  # not installed, or on a system that lacks what its driver needs
        raise ValueError(f"Playwright, which steers the browser, does not start: {error}") from None
    try:
        found = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
        found.append(playwright.chromium.executable_path)
        path = next((path for path in found if path and Path(path).exists()), None)
        if path is None:
            raise ValueError(NO_BROWSER)
        root = ["--no-sandbox"] * (getattr(os, "geteuid", lambda: 1)() == 0)
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS + root)
        yield running
        running.close()
    finally:
        playwright.stop()


def print_page(page, site, name, path):
    """Print a page of the site when its formulas are set; the style sheet says how it looks."""
    page.goto(address(site, name), timeout=0)
    page.evaluate(MATHEMATICS)
    options = NUMBERED
    if name.endswith("_slides"):
        page.evaluate("() => document.body.classList.add('slides')")
        options = {}
    page.pdf(path=path, prefer_css_page_size=True, **options)


def join(parts, site, path):
    """Join the PDFs {name of a page: path} under an outline of their titles.

    A link to a page of the site leads to its place in the file, or nowhere if it is not there.
    """
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import ArrayObject, NameObject

    writer, first = PdfWriter(), {}
    for name, part in parts.items():
        reader = PdfReader(part)
        first[address(site, name)] = len(writer.pages)
        writer.append(reader, reader.metadata.title.rpartition(" — ")[0])
    for page in writer.pages:
        for link in page.annotations or ():
            link = link.get_object()
            target = link.get("/A", {}).get("/URI", "").partition("#")[0]
            if target.startswith("file:"):
                del link["/A"]
            if target in first:
                place = writer.pages[first[target]].indirect_reference
                link[NameObject("/Dest")] = ArrayObject([place, NameObject("/Fit")])
    writer.write(path)


def address(site, name):
    """Return the address of a page of the site."""
    return f"{site.resolve().as_uri()}/{name}.html"


def publish(browser, site, pages, slides, folder):
    """Print pages of the site to one file, its formulas and each page of slides to their own."""
    page = browser.new_page()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = {name: Path(scratch, f"{k}.part") for k, name in enumerate(pages)}
        for name, part in parts.items():
            print_page(page, site, name, part)
        join(parts, site, Path(scratch, "course.pdf"))
        for name in ("formulas", *slides):
            print_page(page, site, name, Path(scratch, f"{Path(name).name}.pdf"))
        for whole in Path(scratch).glob("*.pdf"):  # a file is there whole or not at all
            whole.replace(folder / whole.name)
    print(folder / "course.pdf")

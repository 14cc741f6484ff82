// A formula that scrolls sideways is reached with the keyboard; the theme sees to code and tables.
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const formula of document.querySelectorAll(".math")) watcher.observe(formula);

// The fold of a code cell is named by what it shows, not by the label that the notebook gives it.
for (const fold of document.querySelectorAll("summary[aria-label]")) fold.removeAttribute("aria-label");

// A figure opens by itself, where a phone can enlarge it.
for (const image of document.querySelectorAll("article img")) {
  if (image.closest("a")) continue;
  const link = document.createElement("a");
  link.href = image.src;
  image.replaceWith(link);
  link.append(image);
}

// What is folded to be read later is printed; hints and answers stay folded. Wide outputs shrink.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.hide")) fold.open = true;
  for (const output of document.querySelectorAll(".cell_output pre")) {
    const lengths = output.textContent.split("\n").map((line) => line.length);
    output.style.setProperty("--columns", Math.max(...lengths));
  }
});

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

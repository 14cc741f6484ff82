// What scrolls sideways is reached with the keyboard too.
const reach = () => {
  for (const element of document.querySelectorAll(".math, article pre, article .output, .pst-scrollable-table-container")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  }
};

addEventListener("load", () => window.MathJax?.startup?.promise.then(reach));
addEventListener("resize", reach);

// The fold of a code cell is named by what it shows, not by the label that the notebook gives it.
for (const fold of document.querySelectorAll("summary[aria-label]")) fold.removeAttribute("aria-label");

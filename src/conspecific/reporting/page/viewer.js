"use strict";
// Opens an image large, in a dialog, by mouse or keyboard. Without this script the page has its small images.
(() => {
  const images = [...document.querySelectorAll("main img:not([hidden])")];
  if (!images.length || !window.HTMLDialogElement) return;
  const dialog = document.createElement("dialog"), large = new Image(), caption = document.createElement("p");
  const bar = document.createElement("div");
  const groupOf = image => image.closest("article, .card") || document.body;
  const groups = new Map();
  let shown = null;

  function neighbor(image, step) {
    const group = groups.get(groupOf(image)).filter(other => other.offsetParent);
    return group[(group.indexOf(image) + step + group.length) % group.length];
  }

  function show(image) {
    shown = image;
    large.src = image.src;
    large.alt = image.alt;
    caption.textContent = image.alt;
    if (!dialog.open) dialog.showModal();
  }

  function button(text, label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    bar.append(made);
  }

  function focus(image) {
    groups.get(groupOf(image)).forEach(other => { other.tabIndex = other === image ? 0 : -1; });
    image.focus();
  }

  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  images.forEach(image => {
    const group = groupOf(image);
    image.tabIndex = groups.has(group) ? -1 : 0;  // one stop of the Tab key a card; arrows reach its other images
    groups.set(group, [...(groups.get(group) || []), image]);
    image.setAttribute("role", "button");
    image.setAttribute("aria-haspopup", "dialog");
    image.addEventListener("click", () => show(image));
    image.addEventListener("keydown", event => {
      if (event.key in steps) focus(neighbor(image, steps[event.key]));
      else if (event.key === "Enter" || event.key === " ") show(image);
      else return;
      event.preventDefault();
    });
  });
  dialog.className = "viewer";
  dialog.setAttribute("aria-label", "Image");
  button("‹", "Previous image", () => show(neighbor(shown, -1)));
  button("›", "Next image", () => show(neighbor(shown, 1)));
  button("×", "Close", () => dialog.close());
  dialog.append(large, caption, bar);
  dialog.addEventListener("keydown", event => { if (event.key in steps) show(neighbor(shown, steps[event.key])); });
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => focus(shown));
  document.body.append(dialog);
})();

// The little that HTML cannot do by itself. Everything works without it, only less live.
"use strict";

// A series without an image: say so instead of showing a broken picture.
function withoutPicture(image) {
  image.hidden = true;
  image.nextElementSibling.hidden = false;
}
document.addEventListener("error", (event) => {
  if (event.target.matches?.(".picture img")) withoutPicture(event.target);
}, true);
for (const image of document.querySelectorAll(".picture img")) {
  if (image.complete && image.src && image.naturalWidth === 0) withoutPicture(image);
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-add-row], [data-remove-row]");
  if (!button) return;
  if (button.dataset.copy) {
    await navigator.clipboard?.writeText(document.querySelector(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
  } else if (button.dataset.addRow) {
    const body = document.querySelector(button.dataset.addRow);
    const row = document.querySelector(`${button.dataset.addRow}-template`).content.cloneNode(true);
    body.append(row);
    body.lastElementChild.querySelector("input, select").focus();
  } else {
    button.closest("tr").remove();
  }
});

// A form of several kinds shows the fields of the chosen one.
function showKind() {
  const chosen = document.querySelector("[name=kind]:checked")?.value;
  for (const part of document.querySelectorAll("[data-kind]")) {
    part.hidden = part.disabled = part.dataset.kind !== chosen;
  }
}
document.addEventListener("change", (event) => {
  if (event.target.name === "kind") showKind();
});
if (document.querySelector("[data-kind]")) showKind();

// What a form's own request could not do, the ordinary way of sending it explains on a page.
for (const failure of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(failure, (event) => {
    if (event.target.matches("form")) event.target.submit();
  });
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.matches("[data-live]")) event.preventDefault();
});

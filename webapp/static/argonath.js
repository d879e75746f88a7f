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
    const form = button.form;
    button.closest("tr").remove();
    form?.dispatchEvent(new Event("input", { bubbles: true }));
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

// A live part is not replaced while nobody looks, or while somebody types in it.
for (const moment of ["htmx:beforeRequest", "htmx:beforeSwap"]) {
  document.addEventListener(moment, (event) => {
    if (!event.target.matches("[data-live]")) return;
    const typing = document.activeElement.matches("input") && event.target.contains(document.activeElement);
    const asked = event.detail.requestConfig?.triggeringEvent?.type === "released";
    if (document.hidden || (typing && !asked)) event.preventDefault();
  });
}

// Beside a text: go to a line of it, insert an example into it.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-line], [data-insert]");
  if (!button) return;
  const text = document.querySelector(button.dataset.in);
  text.focus();
  if (button.dataset.insert) {
    const start = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
    text.setRangeText(document.querySelector(button.dataset.insert).textContent, start, start, "end");
    text.dispatchEvent(new Event("input", { bubbles: true }));
    return;
  }
  const lines = text.value.split("\n");
  const before = lines.slice(0, button.dataset.line - 1).join("\n").length + (button.dataset.line > 1);
  text.setSelectionRange(before, before + lines[button.dataset.line - 1].length);
  text.scrollTop = (text.scrollHeight / lines.length) * Math.max(0, button.dataset.line - 5);
});

// Beside a form: what is wrong stands at its field too, unless nobody has been there yet.
function markMistakes(said) {
  const form = document.querySelector(said.dataset.mistakesIn);
  for (const old of form.querySelectorAll(".mistake")) old.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  for (const [number, mistake] of said.querySelectorAll("[data-field]").entries()) {
    const field = fieldOf(mistake);
    if (!field || !(field.value || field.dataset.left)) continue;
    const told = document.createElement("p");
    told.className = "mistake";
    told.id = `mistake-${number}`;
    told.textContent = mistake.dataset.told;
    field.after(told);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", told.id);
  }
}
function fieldOf(mistake) {
  const fields = document.querySelectorAll(`${mistake.dataset.in} [name="${mistake.dataset.field}"]`);
  return fields[mistake.dataset.row];
}
for (const said of document.querySelectorAll("[data-mistakes-in]")) {
  said.addEventListener("htmx:afterSettle", () => markMistakes(said));
  said.addEventListener("click", (event) => {
    const mistake = event.target.closest("[data-field]");
    if (mistake) fieldOf(mistake)?.focus();
  });
  document.querySelector(said.dataset.mistakesIn).addEventListener("focusout", (event) => {
    event.target.dataset.left = "yes";
    markMistakes(said);
  });
  markMistakes(said);
}

// Enter where it is said what to try a draft on tries it, and does not save it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches(".try input")) return;
  event.preventDefault();
  event.target.closest(".try").querySelector("button").click();
});

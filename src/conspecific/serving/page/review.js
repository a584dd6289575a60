// The review page: one question at a time, answered by keys or buttons; the server keeps every answer.

import { element } from "./render.js";
import { imageAddress, send } from "./request.js";

const at = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("#answers button")];
let state = null;
let waiting = false;

function pictureItem(picture, size) {
  const image = element("img", { src: imageAddress(picture.id, size), alt: "" });
  const button = element("button", { class: "picture", type: "button", title: "Show it large" }, image, element("span", { class: "name" }, picture.caption || picture.name));
  button.addEventListener("click", () => {
    at("large-image").src = imageAddress(picture.id, "large");
    at("large-image").alt = picture.caption || picture.name;
    at("large-name").textContent = [picture.caption, picture.name].filter(Boolean).join(" · ");
    at("large").showModal();
  });
  return element("li", {}, button);
}

function showQuestion(question) {
  const one = question.images.length + question.more === 1;
  at("title").textContent = question.title;
  at("told").textContent = question.told;
  at("asked-title").textContent = one ? question.images[0].name : `${question.images.length + question.more} images`;
  at("pair").className = `pair ${one ? "one" : "several"}`;
  at("asked").replaceChildren(...question.images.map((picture) => pictureItem({ ...picture, caption: picture.caption && `labelled ${picture.caption}` }, one ? "large" : "small")));
  at("more").textContent = question.more ? `and ${question.more} more` : "";
  at("beside").replaceChildren(...question.beside.map((picture) => pictureItem(picture, "small")));
  at("same").textContent = question.same;
  at("different").textContent = question.different;
}

function show(found, said) {
  state = found;
  const { question } = state;
  at("main").hidden = false;
  at("run").textContent = ` · review of ${state.run}`;
  at("file").textContent = state.file;
  at("done").max = Math.max(state.total, 1);
  at("done").value = state.answered;
  at("counts").textContent = `${state.answered} of ${state.total} answered, ${state.corrected} ${state.corrected === 1 ? "image" : "images"} corrected`;
  at("question").hidden = !question;
  at("end").hidden = Boolean(question);
  for (const button of buttons) button.disabled = button.id === "undo" ? !state.can_undo : !question;
  for (const button of buttons) button.hidden = button.id !== "undo" && !question;
  if (question) {
    showQuestion(question);
    for (const id of state.upcoming) new Image().src = imageAddress(id, state.upcoming.length === 1 ? "large" : "small");
  } else {
    at("end-title").textContent = state.total ? "Every question is answered" : "Nothing here is worth a question";
    at("end-told").textContent = state.corrected ? "Train with the corrections, and review what is left:" : "No label was changed.";
    at("end-command").textContent = `conspecific train ... data.corrections=${state.file}`;
    at("end-command").hidden = !state.corrected;
  }
  const heading = at(question ? "title" : "end-title");
  at("status").textContent = [said, heading.textContent, question?.told].filter(Boolean).join(" ");
  if (said) heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function ask(path, said, body) {
  if (waiting) return;
  waiting = true;
  at("error").replaceChildren();
  try {
    const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    show(await (await send(path, options)).json(), said);
  } catch (error) {
    at("main").hidden = false;
    at("error").replaceChildren(element("p", { class: "card bad" }, error.message));
    if (body && path !== "/api/review") await refresh();
  }
  waiting = false;
}

async function refresh() {
  try {
    show(await (await send("/api/review")).json(), "");
  } catch {
    // the sentence above says what is wrong
  }
}

const answer = (decision, label = "") => ask("/api/answer", `${decision === "new" ? label : decision}.`, { question: state.question.number, decision, label });

async function name() {
  const known = await (await send("/api/species")).json();
  at("species").replaceChildren(...known.map((each) => element("option", { value: each })));
  at("name").value = "";
  at("naming").returnValue = "";
  at("naming").showModal();
}

function act(button) {
  if (!button || button.disabled) return;
  if (button.id === "undo") ask("/api/undo", "Taken back.", {});
  else if (button.dataset.decision === "new") name();
  else answer(button.dataset.decision);
}

for (const button of buttons) {
  button.setAttribute("aria-keyshortcuts", button.dataset.key.toUpperCase());
  button.addEventListener("click", () => act(button));
}
at("naming").addEventListener("close", () => {
  const label = at("name").value.trim();
  if (at("naming").returnValue === "give" && label) answer("new", label);
});
at("letters").addEventListener("change", ({ target }) => document.body.classList.toggle("mute", !target.checked));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !at("letters").checked || document.querySelector("dialog[open]")) return;
  const pressed = buttons.find((button) => button.dataset.key === event.key.toLowerCase());
  if (!pressed) return;
  event.preventDefault();
  act(pressed);
});
ask("/api/review", "");

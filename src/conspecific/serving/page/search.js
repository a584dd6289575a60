// The search page: an image comes in by drop, paste, camera or choice, or from the gallery; the answers are shown.

import { ask, galleryFacts, imageAddress, save } from "./request.js";
import { element, galleryLine, refinementName, results, score, speciesName, verdictWords } from "./render.js";

const at = (id) => document.getElementById(id);
let facts = null;
let query = null; // {file} or {id}
let underWay = null;

function tell(status, error = "") {
  at("status").replaceChildren(...[status].flat());
  at("error").replaceChildren(...(error ? [element("p", { class: "card bad" }, error)] : []));
}

function showQuery(name) {
  if (at("preview").src.startsWith("blob:")) URL.revokeObjectURL(at("preview").src);
  at("preview").src = query.file ? URL.createObjectURL(query.file) : imageAddress(query.id, "large");
  at("preview").alt = `The image that is searched with: ${name}`;
  at("preview").hidden = false;
  at("query-name").textContent = name;
  at("query").hidden = false;
  document.querySelector("label[for=file]").textContent = "Another image";
}

const chosen = () => ({ species: at("species").value, refine: at("refine").value });

async function search() {
  underWay?.abort();
  const mine = (underWay = new AbortController());
  document.body.classList.add("asked", "searching");
  tell("Searching");
  try {
    const found = await (await ask("search", query, chosen(), mine.signal)).json();
    at("answers").replaceChildren(...results(found, facts, openLarge, downloads(found)));
    const words = verdictWords(found.model);
    const cost = `${found.model.answers.length} images found in ${Math.round(1000 * found.seconds)} ms`;
    tell([element("span", { class: "hidden" }, `${words.name}. `), cost]);
    if (innerWidth < 960) at("results").scrollIntoView({ block: "start" });
  } catch (error) {
    if (error.name === "AbortError") return;
    at("answers").replaceChildren();
    tell("", error.message);
  }
  if (mine === underWay) document.body.classList.remove("searching");
}

function searchFile(file) {
  if (!file) return;
  if (facts && file.size > 1e6 * facts.upload_mb) {
    tell("", `${file.name} has ${(file.size / 1e6).toFixed(1)} MB, more than ${facts.upload_mb} MB, which is the limit here.`);
    return;
  }
  query = { file };
  showQuery(file.name || "pasted image");
  search();
}

function searchListed(id, name) {
  query = { id };
  showQuery(name);
  search();
}

function downloads(found) {
  const fetched = (path, name) => async () => {
    try {
      save(await (await ask(path, query, chosen())).blob(), name);
    } catch (error) {
      tell("", error.message);
    }
  };
  const json = new Blob([JSON.stringify(found, null, 2)], { type: "application/json" });
  return {
    "Contact sheet": fetched("sheet.png", "answers.png"),
    CSV: fetched("search.csv", "answers.csv"),
    JSON: () => save(json, "answers.json"),
  };
}

function openLarge(answer) {
  const name = speciesName(answer.species);
  at("large-image").src = imageAddress(answer.id, "large");
  at("large-image").alt = name;
  at("large-name").textContent = name;
  at("large-facts").textContent = `Rank ${answer.rank}, score ${score(answer.score)}, ${answer.path}`;
  at("large-told").textContent = "";
  at("large-why").hidden = false;
  at("large").dataset.answer = answer.id;
  at("large-why").onclick = () => showWhy(answer, name);
  at("large-search").onclick = () => {
    at("large").close();
    scrollTo(0, 0);
    searchListed(answer.id, name);
  };
  at("large").showModal();
}

async function showWhy(answer, name) {
  at("large-why").hidden = true;
  at("large-search").focus();
  at("large-told").textContent = "Comparing regions";
  try {
    const picture = await (await ask("why.jpg", query, { answer: String(answer.id) })).blob();
    if (at("large").dataset.answer !== String(answer.id)) return; // another answer was opened meanwhile
    at("large-image").onload = ({ target }) => URL.revokeObjectURL(target.src);
    at("large-image").src = URL.createObjectURL(picture);
    at("large-image").alt = `Your image and ${name}, side by side: regions that agree keep their colours`;
    at("large-told").textContent = "Regions that add most to the score keep their colours; equal numbers mark those that agree most with each other.";
  } catch (error) {
    at("large-told").textContent = error.message;
  }
}

function example(id, number) {
  const image = element("img", { src: imageAddress(id), alt: `Example ${number + 1}`, width: 320, height: 320 });
  const button = element("button", { class: "answer", type: "button" }, image);
  button.addEventListener("click", () => searchListed(id, `example ${number + 1}`));
  return element("li", {}, button);
}

function listen() {
  for (const id of ["file", "camera"]) {
    at(id).addEventListener("change", (event) => {
      searchFile(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }
  for (const id of ["species", "refine"]) at(id).addEventListener("change", () => query && search());
  at("preview").addEventListener("error", () => {
    at("preview").hidden = true; // a kind of image that the server reads and this browser does not show
  });
  addEventListener("paste", (event) => searchFile([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
  for (const left of ["dragleave", "drop"]) addEventListener(left, () => at("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) searchFile(file);
    else tell("", "That was no file: save the image first, then drop its file here.");
  });
}

async function start() {
  listen();
  try {
    facts = await galleryFacts();
  } catch (error) {
    tell("", error.message);
    return;
  }
  at("run").textContent = ` · ${facts.run}`;
  at("lead").textContent = galleryLine(facts);
  at("file").accept = facts.formats.join();
  at("species").append(
    ...facts.species.map(({ species, images }) => element("option", { value: species }, `${speciesName(species)} (${images})`)),
  );
  at("refine").append(...facts.refinements.map((method) => element("option", { value: method }, refinementName(method))));
  at("refine").value = facts.refinement;
  at("species").closest("p").hidden = !facts.species.length;
  at("example-list").append(...facts.examples.map(example));
  at("examples").hidden = !facts.examples.length;
}

start();

// Elements of the page. Names of species and files are set as text and attributes, never as markup.

import { imageAddress } from "./request.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const speciesName = (species) => (species === null ? "unknown species" : species.replaceAll("_", " "));
export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
export const score = (value) => value.toFixed(Math.abs(value) < 10 ? 3 : 1).replace("-", "\u2212");
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

const REFINEMENTS = { none: "no", query_expansion: "query expansion", database_augmentation: "database augmentation", k_reciprocal: "k-reciprocal re-ranking", local: "matching regions" };
export const refinementName = (method) => REFINEMENTS[method] ?? method;

export function galleryLine(facts) {
  const species = facts.species.length ? ` of ${facts.species.length.toLocaleString("en")} species` : "";
  return `Search ${plural(facts.images, "image")}${species} for those nearest to yours.`;
}

function answerItem(answer, open) {
  const name = speciesName(answer.species);
  const facts = [element("span", {}, score(answer.score))];
  if (answer.precision !== null) {
    facts.push(element("span", { class: "dot" }, " · "), element("span", {}, `${percent(answer.precision)} right`));
  }
  const image = element("img", { src: imageAddress(answer.id), alt: "", loading: "lazy", width: 320, height: 320 });
  const button = element(
    "button",
    { class: "answer", type: "button" },
    image,
    element("span", { class: "rank" }, element("span", { class: "hidden" }, "Rank "), String(answer.rank)),
    element("span", { class: "name" }, name),
    element("span", { class: "facts" }, ...facts),
  );
  button.addEventListener("click", () => open(answer));
  return element("li", {}, button);
}

function voteItem(vote, total) {
  const name = speciesName(vote.species);
  return element(
    "li",
    {},
    element("span", {}, name),
    element("span", { class: "count" }, `${vote.count} of ${total}`),
    element("meter", { max: total, value: vote.count, "aria-hidden": "true" }),
  );
}

function sharing(count, total) {
  if (count === total) return total === 1 ? "The only image found shows" : `All ${total} nearest images show`;
  return `${count} of the ${total} nearest images show${count === 1 ? "s" : ""}`;
}

export function verdictWords(found) {
  const [best] = found.votes;
  if (!best) return { name: "Nothing to compare with", lines: ["The gallery has no other image of this species."] };
  const [nearest] = found.answers;
  const share = sharing(best.count, found.answers.length);
  const sure = found.sure_as && found.sure_as.rank !== "species"
    ? [`Sure as ${found.sure_as.rank}: ${speciesName(found.sure_as.taxon)}, as 95\u00a0% of such answers were right on validation.`]
    : [];
  if (found.may_be_none) {
    const limit = `The best score, ${score(nearest.score)}, is below ${score(found.threshold)}, which 95\u00a0% of the validation queries reach, whose species are in the gallery.`;
    return { name: "Probably none of these", lines: [limit, `${share} ${speciesName(best.species)}.`, ...sure], unsure: true };
  }
  const worth = nearest.precision === null
    ? "No validation of such scores was recorded, so that a score says nothing of its precision."
    : `Of the validation answers with a score like that of the nearest, ${score(nearest.score)}, ${percent(nearest.precision)} were right.`;
  return { name: speciesName(best.species), lines: [`${share} this species.`, worth, ...sure] };
}

function verdict(found) {
  const words = verdictWords(found);
  const text = element("div", {}, element("p", { class: "name" }, words.name), ...words.lines.map((line) => element("p", { class: "quiet" }, line)));
  const votes = element("ul", { class: "votes", "aria-label": "Votes of the answers" });
  votes.append(...found.votes.slice(0, 4).map((vote) => voteItem(vote, found.answers.length)));
  return element("div", { class: `card verdict${words.unsure ? " bad" : ""}` }, text, votes);
}

function block(title, sentence, list) {
  return element("section", { class: "block" }, element("h2", {}, title), element("p", { class: "quiet small" }, sentence), list);
}

function listOf(kind, answers, open) {
  const list = element("ol", { class: kind });
  list.append(...answers.map((answer) => answerItem(answer, open)));
  return list;
}

const SCORED = "Under each: its score.";
const MEASURED = "Under each: its score, and how many of the validation answers with such a score were right.";

function recognized(images) {
  if (!images.length) return [];
  const names = images.map((image) => `${image.path} (${speciesName(image.species)})`).join(", ");
  const text = `This very file is in the gallery: ${names}. It is left out of the answers.`;
  return [element("p", { class: "card known" }, text)];
}

export function results(result, facts, open, downloads) {
  const { answers, told: reranked } = result.model;
  const scored = answers.some((answer) => answer.precision !== null) ? MEASURED : SCORED;
  const nearest = block("Nearest images", reranked ? `${scored} ${reranked}` : scored, listOf("grid", answers, open));
  const parts = [...recognized(result.recognized), verdict(result.model), nearest];
  if (result.reference) {
    const [best] = result.reference.votes;
    const vote = best ? `: ${best.count} of ${result.reference.answers.length} for ${speciesName(best.species)}` : "";
    const told = `What the same network answered before it was trained on these species${vote}.`;
    parts.push(block("Before training", told, listOf("strip", result.reference.answers, open)));
  } else {
    parts.push(block("Before training", facts.no_reference, ""));
  }
  const buttons = element("div", { class: "downloads", role: "group", "aria-label": "Downloads" });
  buttons.append(
    ...Object.entries(downloads).map(([label, action]) => {
      const button = element("button", { class: "button plain", type: "button" }, label);
      button.addEventListener("click", action);
      return button;
    }),
  );
  parts.push(buttons);
  return parts;
}

// The schema of the API as a page, from /openapi.json of the same server.

import { element } from "./render.js";

const nameOf = (reference) => reference.split("/").at(-1);

function kindOf(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  if (schema.enum) return schema.enum.join(" or ");
  return schema.type === "array" ? `list of ${kindOf(schema.items)}` : schema.type;
}

function definitions(title, rows) {
  if (!rows.length) return null;
  const list = element("dl");
  for (const [name, text] of rows) list.append(element("dt", {}, element("code", {}, name)), element("dd", {}, text));
  return element("div", {}, element("h3", {}, title), list);
}

function range({ minimum, maximum }) {
  return minimum === undefined ? "" : `, ${minimum} to ${maximum}`;
}

function option({ name, description, schema, required }) {
  const preset = schema.default === undefined ? "" : `, ${schema.default} where it is not given`;
  return [name, `${kindOf(schema)}${range(schema)}${preset}${required ? ", needed" : ""}. ${description ?? ""}`];
}

function answer([status, { description, content }]) {
  const kinds = Object.entries(content ?? {}).map(([kind, { schema }]) => (schema?.$ref ? nameOf(schema.$ref) : kind));
  return [status, [kinds.filter((kind) => kind !== "Refused").join(", "), description].filter(Boolean).join(": ")];
}

function operation(path, method, { summary, parameters = [], requestBody, responses }) {
  const body = requestBody ? [["body", Object.keys(requestBody.content).join(", ")]] : [];
  return element(
    "section",
    { class: "card" },
    element("h2", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path)),
    element("p", { class: "quiet" }, summary),
    definitions("Given", [...parameters.map(option), ...body]),
    definitions("Answered", Object.entries(responses).map(answer)),
  );
}

function model([name, { description, properties }]) {
  const rows = Object.entries(properties).map(([key, schema]) => [key, [kindOf(schema), schema.description].filter(Boolean).join(": ")]);
  return element("section", { class: "card" }, element("h2", {}, name), element("p", { class: "quiet" }, description ?? ""), definitions("Fields", rows));
}

const schema = await (await fetch("/openapi.json")).json();
document.getElementById("summary").textContent = schema.info.summary;
document.getElementById("example").textContent =
  `curl -H "Content-Type: image/jpeg" --data-binary @image.jpg "${location.origin}/api/search?k=5"`;
for (const [path, methods] of Object.entries(schema.paths)) {
  for (const [method, found] of Object.entries(methods)) document.getElementById("operations").append(operation(path, method, found));
}
const models = Object.entries(schema.components.schemas).filter(([, { properties }]) => properties);
document.getElementById("operations").append(...models.map(model));

// Requests to the API. A refusal becomes an Error whose message is the sentence of the server.

const BINARY = "application/octet-stream";

export async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached: it was stopped, or it refused the upload.");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.error ?? `The server answered with status ${response.status}.`);
}

// A query is {file} or {id}; path is search, search.csv or sheet.png; chosen is {species, refine}, empty for the default.
export function ask(path, query, chosen, signal) {
  const options = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  if (query.file) {
    const headers = { "content-type": query.file.type.startsWith("image/") ? query.file.type : BINARY };
    return send(`/api/${path}?${options}`, { method: "POST", body: query.file, headers, signal });
  }
  options.set("id", query.id);
  return send(`/api/${path}?${options}`, { signal });
}

export async function galleryFacts() {
  return (await send("/api/gallery")).json();
}

export function imageAddress(id, size = "small") {
  return `/api/images/${Number(id)}?size=${size}`;
}

export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

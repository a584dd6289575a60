"use strict";
// Sorts and filters the table of runs. Without this script the table is complete, in its first order.
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const words = document.getElementById("words"), choices = [...document.querySelectorAll("[data-choice]")];
  const texts = rows.map(row => row.textContent.toLowerCase());

  function key(row, column) {
    const cell = row.cells[column];
    return "order" in cell.dataset ? Number(cell.dataset.order) : cell.textContent.trim().toLowerCase();
  }

  function compare(first, second, sign) {
    const numbers = [typeof first === "number", typeof second === "number"];
    if (numbers[0] && numbers[1]) return sign * (first - second);
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;  // rows without a number stay last
    return sign * first.localeCompare(second, undefined, { numeric: true });
  }

  function sort(column) {
    const head = heads[column], now = head.getAttribute("aria-sort");
    const isNumber = rows.some(row => "order" in row.cells[column].dataset);
    const sign = now ? (now === "descending" ? 1 : -1) : isNumber ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const keyed = rows.map(row => [key(row, column), row]);
    keyed.sort((first, second) => compare(first[0], second[0], sign));
    body.append(...keyed.map(pair => pair[1]));
  }

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const fits = wanted.every(word => texts[place].includes(word))
        && choices.every(choice => !choice.value || choice.value === "=" + row.dataset[choice.dataset.choice]);
      row.hidden = !fits;
      shown += fits;
    });
    document.getElementById("count").textContent = `${shown} of ${rows.length} runs`;
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  const form = document.getElementById("filters");
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  filter();
})();

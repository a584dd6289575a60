"use strict";
// Shows the image of a point, in both maps, and picks out a species. Without this script a point has its name.
(() => {
  const card = document.getElementById("map-card");
  if (!card) return;
  const maps = [...card.querySelectorAll("svg")].map(map => [...map.querySelectorAll("circle")]);
  const tip = card.querySelector(".tip"), canvas = tip.querySelector("canvas"), words = tip.querySelector("p");
  const sprite = card.querySelector(".sprite"), picker = card.querySelector("select");
  const tile = Number(card.dataset.tile), across = Number(card.dataset.across), count = maps[0].length;
  const names = maps[0].map(point => point.textContent);
  const order = [...names.keys()].sort((one, other) => maps[0][one].dataset.species - maps[0][other].dataset.species);
  let marked = -1, beside = 0;  // the image that is marked, and the map in which the tip is at its point
  maps.flat().forEach(point => point.replaceChildren());  // the name is beside the image now

  // Puts the tip beside a point, on the side where it is on the screen as a whole.
  function put(point) {
    const at = point.getBoundingClientRect(), origin = card.getBoundingClientRect(), gap = 10, edge = 8;
    const width = tip.offsetWidth, height = tip.offsetHeight, room = document.documentElement;
    const left = at.right + gap + width + edge <= room.clientWidth ? at.right + gap : at.left - gap - width;
    const top = Math.min((at.top + at.bottom - height) / 2, room.clientHeight - edge - height);
    tip.style.left = `${Math.max(edge, left) - origin.left - card.clientLeft}px`;
    tip.style.top = `${Math.max(edge, top) - origin.top - card.clientTop}px`;
  }

  function mark(place, side = 0) {
    maps.forEach(points => {
      if (marked >= 0) points[marked].classList.remove("marked");
      if (place >= 0) points[place].classList.add("marked");
    });
    [marked, beside] = [place, side];
    tip.hidden = place < 0;
    if (place < 0) return;
    words.textContent = names[place];
    canvas.getContext("2d").drawImage(sprite, place % across * tile, Math.floor(place / across) * tile, tile, tile,
      0, 0, canvas.width, canvas.height);
    put(maps[side][place]);
  }

  function pick() {
    const wanted = picker.value;
    maps.flat().forEach(point => point.classList.toggle("dim", wanted !== "" && point.dataset.species !== wanted));
  }

  function step(by) {
    const shown = order.filter(place => !picker.value || maps[0][place].dataset.species === picker.value);
    const at = shown.indexOf(marked);
    mark(shown[at < 0 ? 0 : (at + by + shown.length) % shown.length]);
  }

  const nearest = (map, side) => event => {
    const box = map.getBoundingClientRect(), scale = 104 / box.width;
    const x = (event.clientX - box.left) * scale - 2, y = (event.clientY - box.top) * scale - 2;
    let best = -1, least = 9;
    for (let place = 0; place < count; place++) {
      const point = maps[side][place];
      const apart = (point.cx.baseVal.value - x) ** 2 + (point.cy.baseVal.value - y) ** 2;
      if (apart < least && !point.classList.contains("dim")) [best, least] = [place, apart];
    }
    if (best < 0) return;
    if (best === marked && side === beside) put(maps[side][best]);  // the page may have been scrolled
    else mark(best, side);
  };

  card.querySelectorAll("svg").forEach((map, side) => {
    map.addEventListener("pointermove", nearest(map, side));
    map.addEventListener("pointerdown", nearest(map, side));
    map.addEventListener("pointerleave", event => event.pointerType === "mouse" && mark(-1));
  });
  card.addEventListener("keydown", event => {
    if (event.key === "Escape") mark(-1);
    if (event.target !== card || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    step(event.key === "ArrowRight" ? 1 : -1);
    event.preventDefault();
  });
  picker.addEventListener("input", () => { pick(); mark(-1); });
  card.querySelector(".picker").hidden = false;
})();

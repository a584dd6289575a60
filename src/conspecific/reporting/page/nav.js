"use strict";
// Marks the section on the screen in the navigation. Without this script the links work the same.
(() => {
  const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
  const sections = [...document.querySelectorAll("section")], seen = new Set();
  let marked = null;
  const observer = new IntersectionObserver(entries => {
    entries.forEach(entry => seen[entry.isIntersecting ? "add" : "delete"](entry.target));
    const first = sections.find(section => seen.has(section)), link = first && links.get(first.id);
    if (!link || link === marked) return;
    if (marked) marked.removeAttribute("aria-current");
    marked = link;
    link.setAttribute("aria-current", "true");
    link.parentNode.scrollTo({ left: link.offsetLeft - link.parentNode.clientWidth / 2 + link.offsetWidth / 2 });
  }, { rootMargin: "-60px 0px -55% 0px" });
  sections.forEach(section => observer.observe(section));
})();

// Filters and sorts what is already on the page; without it everything is simply shown.
"use strict";
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

const itemsOf = (id) => [...document.getElementById(id).querySelectorAll("[data-item]")];

for (const input of document.querySelectorAll("[data-filters]")) {
  const id = input.dataset.filters;
  const texts = new Map(itemsOf(id).map((item) => [item, item.textContent.toLowerCase()]));
  const told = document.querySelector(`[data-counts="${id}"]`);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const [item, text] of texts) {
      item.hidden = !text.includes(wanted);
      shown += item.hidden ? 0 : 1;
    }
    told.textContent = wanted ? `${shown} of ${texts.size} shown` : "";
  });
}

for (const select of document.querySelectorAll("[data-sorts]")) {
  const list = document.getElementById(select.dataset.sorts);
  const given = itemsOf(list.id);
  select.addEventListener("change", () => {
    const by = select.value;
    const compare = (a, b) => a.dataset[by].localeCompare(b.dataset[by], undefined, { numeric: true });
    list.append(...(by ? [...given].sort(compare) : given));
  });
}

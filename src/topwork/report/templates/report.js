// Filters, sorts and swaps what is already on the page; without it everything is simply shown.
"use strict";
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

const itemsOf = (id) => [...document.getElementById(id).querySelectorAll("[data-item]")];

// --- filters: a text that an item must hold, labels that it must have ---------------------------------------

const texts = new Map([...document.querySelectorAll("[data-item]")].map((i) => [i, i.textContent.toLowerCase()]));

const passes = (item, control) => {
  if (!control.value.trim()) return true;
  const { by } = control.dataset;
  return by ? item.dataset[by] === control.value : texts.get(item).includes(control.value.trim().toLowerCase());
};

for (const control of document.querySelectorAll("[data-filters]")) {
  const id = control.dataset.filters;
  control.addEventListener("input", () => {
    const controls = [...document.querySelectorAll(`[data-filters="${id}"]`)];
    const items = itemsOf(id);
    for (const item of items) item.hidden = !controls.every((one) => passes(item, one));
    const told = document.querySelector(`[data-counts="${id}"]`);
    const shown = items.filter((item) => !item.hidden).length;
    told.textContent = controls.some((one) => one.value.trim()) ? `${shown} of ${items.length} shown` : "";
  });
}

// --- order --------------------------------------------------------------------------------------------------

const orders = {
  probability: (a, b) => Number(b.dataset.probability) - Number(a.dataset.probability),
};

for (const select of document.querySelectorAll("[data-sorts]")) {
  const list = document.getElementById(select.dataset.sorts);
  const given = itemsOf(list.id);
  select.addEventListener("change", () => {
    const by = select.value;
    const asText = (a, b) => a.dataset[by].localeCompare(b.dataset[by], undefined, { numeric: true });
    list.append(...(by ? [...given].sort(orders[by] ?? asText) : given));
  });
}

// --- where it looks -------------------------------------------------------------------------------------------

for (const swap of document.querySelectorAll("[data-swaps]")) {
  const show = () => {
    for (const looks of document.querySelectorAll(`#${swap.dataset.swaps} .looks`)) {
      looks.hidden = !swap.checked;
      looks.previousElementSibling.hidden = swap.checked;
    }
  };
  swap.addEventListener("change", show);
  show();
}

// --- charts: what a point says, under the pointer or by the arrow keys ------------------------------------------

for (const plot of document.querySelectorAll(".plot")) {
  const spots = [...plot.querySelectorAll("[data-spot]")].map((element) => {
    const title = element.querySelector("title");
    const words = title.textContent;
    title.remove(); // Else the browser's own hint would stand over this one.
    return { element, words, x: Number(element.dataset.x), y: Number(element.dataset.y) };
  });
  const tip = plot.parentElement.querySelector(".tip");
  let at = -1;
  const hold = (next) => {
    spots[at]?.element.classList.remove("held");
    at = next;
    tip.hidden = at < 0;
    if (at < 0) return;
    const { element, words, x, y } = spots[at];
    element.classList.add("held");
    tip.textContent = words;
    tip.classList.toggle("leftward", x > 50);
    tip.classList.toggle("downward", y < 35);
    tip.style.left = `${x}%`;
    tip.style.top = `${y}%`;
  };
  const point = (event) => {
    const box = plot.getBoundingClientRect();
    const away = ({ x, y }) =>
      Math.hypot(event.clientX - box.x - (x / 100) * box.width, event.clientY - box.y - (y / 100) * box.height);
    hold(spots.reduce((best, spot, i) => (away(spot) < away(spots[best]) ? i : best), 0));
  };
  const keys = {
    ArrowRight: () => Math.min(at + 1, spots.length - 1),
    ArrowLeft: () => Math.max(at - 1, 0),
    Home: () => 0,
    End: () => spots.length - 1,
    Escape: () => -1,
  };
  plot.tabIndex = 0;
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", () => hold(-1));
  plot.addEventListener("blur", () => hold(-1));
  plot.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    hold(keys[event.key]());
  });
}

(() => {
  "use strict";
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];

  // Methods on and off: everything that belongs to one has its name in data-m.
  const switches = document.getElementById("switches");
  const boxes = all("input[value]", switches);
  switches.hidden = !boxes.length;
  const marked = all("[data-m]");
  const update = () => {
    const off = new Set(boxes.filter(box => !box.checked).map(box => box.value));
    marked.forEach(each => each.classList.toggle("off", off.has(each.dataset.m)));
    all("[data-family]", switches).forEach(family => {
      const of = all("input[value]", family.closest("fieldset"));
      const on = of.filter(box => box.checked).length;
      family.checked = on > 0;
      family.indeterminate = on > 0 && on < of.length;
    });
    switches.firstElementChild.textContent = off.size ? `Methods (${boxes.length - off.size} of ${boxes.length})` : "Methods";
  };
  switches.addEventListener("change", ({target}) => {
    if ("family" in target.dataset)
      all("input[value]", target.closest("fieldset")).forEach(box => { box.checked = target.checked; });
    update();
  });
  switches.addEventListener("click", ({target}) => {
    if (!target.dataset.set) return;
    boxes.forEach(box => {
      box.checked = target.dataset.set === "all" || (target.dataset.set === "ends" && "end" in box.dataset);
    });
    update();
  });
  switches.addEventListener("keydown", event => {
    if (event.key === "Escape") { switches.open = false; switches.firstElementChild.focus(); }
  });

  // Tables: a button in each heading sorts, a field filters the rows by their text.
  const units = {s: 1, min: 60, h: 3600};
  const value = text => {
    if (text.startsWith("\u221e")) return Number.MAX_VALUE;  // so many draws are needed where none was good
    const found = text.replace(/[\u202f\u00a0]/g, "").replace(/\u2212/g, "-").match(/^[^\d-]*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(s|min|h)?\b/);
    return found ? found[1] * (units[found[2]] || 1) : NaN;
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!isNaN(x) && !isNaN(y)) return x - y;
    return isNaN(x) - isNaN(y) || a.localeCompare(b);
  };
  all(".table").forEach(holder => {
    const table = holder.querySelector("table"), bodies = [...table.tBodies];
    const rows = all("tbody tr:not(.family)", table), home = new Map(rows.map(row => [row, row.parentNode]));
    if (rows.length < 2) return;
    all("thead th", table).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const before = heading.ariaSort;
        all("thead th", table).forEach(each => each.removeAttribute("aria-sort"));
        table.classList.toggle("sorted", before !== "ascending");
        if (before === "ascending") {  // the third time: as it was
          rows.forEach(row => home.get(row).append(row));
          return;
        }
        heading.ariaSort = before === "descending" ? "ascending" : "descending";
        const sign = before === "descending" ? 1 : -1;
        const text = row => row.cells[column].textContent.trim();
        const known = row => text(row) !== "\u2014" && text(row) !== "";
        const sorted = [...rows].sort((a, b) => known(b) - known(a) || sign * compare(text(a), text(b)));
        bodies[0].append(...sorted);
      });
    });
    if (rows.length <= 8) return;
    const field = Object.assign(document.createElement("input"), {type: "search", placeholder: "filter rows"});
    field.setAttribute("aria-label", "Filter the rows of this table");
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      table.classList.toggle("filtered", wanted !== "");
      rows.forEach(row => row.classList.toggle("out", !row.textContent.toLowerCase().includes(wanted)));
    });
    holder.prepend(field);
  });

  // Values: a pointer on a mark, or the arrow keys in a figure, show what it is; of a curve at that epoch.
  const tip = document.getElementById("tip");
  const table = new Map();
  const numbers = figure => {
    const link = figure.querySelector(':scope > figcaption a[download$=".csv"]');
    if (!link) {
      const outer = figure.parentElement.closest("figure");
      return outer ? numbers(outer) : [];
    }
    if (!table.has(figure)) {
      const lines = decodeURIComponent(link.href.split(",").slice(1).join(",")).trim().split("\n");
      const names = lines[0].split(",");
      table.set(figure, lines.slice(1).map(line => Object.fromEntries(line.split(",").map((cell, at) => [names[at], cell]))));
    }
    return table.get(figure);
  };
  const words = (mark, epoch) => {
    const figure = mark.closest("figure"), title = mark.querySelector("title");
    const row = epoch && numbers(figure).filter(each => each.method === mark.dataset.m && each.epoch == epoch && !each.layer)[0];
    if (!row || !("mean" in row)) return title ? title.dataset.words || title.textContent : mark.dataset.m;
    return `${mark.dataset.m}, epoch ${epoch}: ${+(+row.mean).toPrecision(4)} (${+(+row.lowest).toPrecision(4)} to ${+(+row.highest).toPrecision(4)})`;
  };
  const epochAt = (svg, plot, x) => {
    if (!plot) return 0;
    const [left, right, first, last] = plot.dataset.plot.split(" ").map(Number);
    const scale = svg.viewBox.baseVal.width / svg.getBoundingClientRect().width;
    const at = (x - svg.getBoundingClientRect().left) * scale;
    return Math.max(first, Math.min(last, Math.round(first + (at - left) / (right - left) * (last - first))));
  };
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(y + 16, innerHeight - tip.offsetHeight - 8))}px`;
  };
  const light = (svg, method) => {
    all("[data-m]", svg).forEach(each => each.classList.toggle("dim", method !== null && each.dataset.m !== method));
  };
  all("figure .picture").forEach(picture => {
    const svg = picture.querySelector("svg"), figure = picture.parentElement;
    const link = Object.assign(document.createElement("a"), {href: `#${figure.id}`, textContent: "SVG"});
    link.download = `${figure.id.slice("figure-".length)}.svg`;
    link.addEventListener("click", () => {  // as it is now: without the methods that are off
      const copy = svg.cloneNode(true);
      all(".off", copy).forEach(each => each.remove());
      all("[data-words]", copy).forEach(each => { each.textContent = each.dataset.words; });
      copy.insertAdjacentHTML("afterbegin", `<style>${RULES}</style>`);
      link.href = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    });
    figure.querySelector(":scope > figcaption .files").prepend(link, " · ");
    const methods = [...new Set(all("[data-m]", svg).map(each => each.dataset.m))];
    if (!methods.length) return;
    all("title", svg).forEach(title => { title.dataset.words = title.textContent; title.textContent = ""; });
    const done = () => { tip.hidden = true; light(svg, null); };
    picture.addEventListener("pointermove", event => {
      const mark = event.target.closest("[data-m]");
      if (!mark) return done();
      light(svg, mark.dataset.m);
      show(words(mark, epochAt(svg, mark.closest("[data-plot]"), event.clientX)), event.clientX, event.clientY);
    });
    picture.addEventListener("pointerleave", done);
    picture.tabIndex = 0;
    let at = -1, epoch = 0;
    picture.addEventListener("keydown", event => {
      const step = {ArrowDown: 1, ArrowUp: -1}[event.key] || 0, along = {ArrowRight: 1, ArrowLeft: -1}[event.key] || 0;
      if (event.key === "Escape") { at = -1; return done(); }
      if (!step && !along) return;
      event.preventDefault();
      const on = methods.filter(method => svg.querySelector(`[data-m="${CSS.escape(method)}"]:not(.off)`));
      if (!on.length) return;
      at = at < 0 ? 0 : (at + step + on.length) % on.length;
      const mark = svg.querySelector(`[data-m="${CSS.escape(on[at])}"]`), plot = mark.closest("[data-plot]");
      if (plot) {
        const [, , first, last] = plot.dataset.plot.split(" ").map(Number);
        epoch = Math.max(first, Math.min(last, (epoch || last) + along));
      }
      light(svg, on[at]);
      const box = mark.getBoundingClientRect();
      show(words(mark, plot ? epoch : 0), box.left + box.width / 2, box.top + box.height / 2);
    });
    picture.addEventListener("blur", () => { at = -1; done(); });
  });

  addEventListener("beforeprint", () => all("details:not(#switches)").forEach(each => { each.open = true; }));
  const target = () => {  // a link to something inside a fold opens it
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = wanted; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (wanted) wanted.scrollIntoView();
  };
  addEventListener("hashchange", target);
  target();
})();

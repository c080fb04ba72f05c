// The sortable table of the page Rankings. Its data are window.RANKINGS, made by book/rankings.py.
(() => {
  "use strict";
  const data = window.RANKINGS;
  const root = document.getElementById("method-rankings");
  if (!data || !root || !Object.keys(data.networks).length) return; // the still table stays
  const at = Object.fromEntries(data.columns.map((name, k) => [name, k]));
  const byId = (id) => document.getElementById(`rankings-${id}`);
  const groups = [...new Set(Object.values(data.methods).map((m) => m.group))];
  const state = { network: Object.keys(data.networks)[0], show: "place", sort: null, up: true };

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function shownGroups() {
    return [...byId("groups").querySelectorAll("input:checked")].map((box) => box.value);
  }

  function cellsOf(network) {
    const found = new Map();
    for (const row of data.networks[network]) found.set(`${row[at.metric]} ${row[at.name]}`, row);
    return found;
  }

  function text(row) {
    if (!row || row[at.value] === null) return "";
    if (state.show === "place") return String(row[at.place]);
    const value = row[at.value].toFixed(3);
    if (state.show === "value") return value;
    return `${value} (${row[at.low].toFixed(3)} to ${row[at.high].toFixed(3)})`;
  }

  function sorted(names, cells) {
    const label = (name) => data.methods[name].label;
    if (!state.sort) return state.up ? names : [...names].reverse();
    const key = (name) => {
      const row = cells.get(`${state.sort} ${name}`);
      const value = row ? row[state.show === "place" ? at.place : at.value] : null;
      return value === null ? Infinity : value;
    };
    const direction = state.up ? 1 : -1;
    // methods without a value stay last, whichever way the others are sorted
    return [...names].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === y) return label(a).localeCompare(label(b));
      if (x === Infinity || y === Infinity) return x === Infinity ? 1 : -1;
      return direction * (x - y);
    });
  }

  function head(metrics) {
    const row = document.createElement("tr");
    for (const metric of [null, ...metrics]) {
      const about = data.metrics[metric];
      const name = metric ? about.label : "Method";
      const way = metric ? `${about.better} is better` : "by name";
      const cell = element("th", "", { scope: "col" });
      const button = element("button", name, { type: "button", title: way });
      const here = state.sort === metric;
      cell.setAttribute("aria-sort", here ? (state.up ? "ascending" : "descending") : "none");
      button.addEventListener("click", () => {
        state.up = here ? !state.up : true;
        state.sort = metric;
        draw();
      });
      cell.append(button);
      row.append(cell);
    }
    return row;
  }

  function body(names, metrics, cells) {
    return names.map((name) => {
      const row = document.createElement("tr");
      row.append(element("th", data.methods[name].label, { scope: "row" }));
      for (const metric of metrics) {
        const found = cells.get(`${metric} ${name}`);
        const cell = element("td", text(found));
        if (found && found[at.place] !== null) {
          const place = Math.min(1, (found[at.place] - 1) / Math.max(1, found[at.of] - 1));
          cell.style.setProperty("--place", place.toFixed(2));
          cell.title =
            `${data.methods[name].label}, ${data.metrics[metric].label}: place ` +
            `${found[at.place]} (${found[at.place_low]} to ${found[at.place_high]}) ` +
            `of ${found[at.of]}, n = ${found[at.n]}`;
        }
        row.append(cell);
      }
      return row;
    });
  }

  function draw() {
    const cells = cellsOf(state.network);
    const metrics = Object.keys(data.metrics).filter((metric) =>
      data.networks[state.network].some((row) => row[at.metric] === metric),
    );
    const wanted = byId("filter").value.trim().toLowerCase();
    const names = Object.keys(data.methods).filter(
      (name) =>
        shownGroups().includes(data.methods[name].group) &&
        data.methods[name].label.toLowerCase().includes(wanted),
    );
    const table = byId("table");
    table.replaceChildren(
      element("caption", `${state.network}: ${byId("show").selectedOptions[0].textContent}`),
      document.createElement("thead"),
      document.createElement("tbody"),
    );
    table.tHead.append(head(metrics));
    table.tBodies[0].append(...body(sorted(names, cells), metrics, cells));
    byId("note").textContent = `${names.length} methods, ${metrics.length} metrics.`;
  }

  for (const network of Object.keys(data.networks)) {
    byId("network").append(element("option", network, { value: network }));
  }
  for (const group of groups) {
    const box = element("input", "", { type: "checkbox", value: group, checked: "" });
    const name = element("label", "");
    name.append(box, ` ${group}`);
    byId("groups").append(name);
  }
  root.addEventListener("input", () => {
    state.network = byId("network").value;
    state.show = byId("show").value;
    draw();
  });
  root.hidden = false;
  document.getElementById("rankings-still").hidden = true;
  draw();
})();

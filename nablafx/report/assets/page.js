function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [left, right] = [valueOf(a, column), valueOf(b, column)];
      if (left === null || right === null) return (left === null) - (right === null); // without a value: last
      const order = typeof left === "number" ? left - right : left.localeCompare(right, undefined, { numeric: true });
      return rising ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }));
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
const players = [...document.querySelectorAll(".player")].map((root) => new Player(root));
const abx = players.length ? new BlindTest() : { pause() {} };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => players.forEach((player) => player.draw()));
// for tests and the curious
window.nablafx = { players, abx, Deck, atLeast };

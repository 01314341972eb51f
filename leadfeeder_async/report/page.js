"use strict";
// Columns sort by a button in their head. Without this script the heads are plain text, and nothing is lost.
const said = document.createElement("p");
said.className = "unseen";
said.setAttribute("role", "status");
document.body.append(said);

const valueOf = (row, column, isNumber) => {
  const cell = row.cells[column];
  const time = cell.querySelector("time");
  if (time) return time.dateTime;
  const text = cell.textContent.trim();
  if (!isNumber) return text === "–" ? null : text;
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? null : number;
};

const sort = (head) => {
  const column = head.cellIndex;
  const isNumber = head.classList.contains("number");
  const down = head.ariaSort ? head.ariaSort !== "descending" : isNumber;
  const body = head.closest("table").tBodies[0];
  const keyed = Array.from(body.rows, (row) => [valueOf(row, column, isNumber), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
    return down ? -order : order;
  });
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...keyed.map(([, row]) => row));
  said.textContent = `Sorted by ${head.textContent}, ${down ? "descending" : "ascending"}`;
};

for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

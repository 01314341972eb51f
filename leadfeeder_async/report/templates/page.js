"use strict";
// Add a sort button to each column header. Without scripts, the headers are plain text and the page shows the same data.
const statusLine = document.createElement("p");
statusLine.className = "visually-hidden";
statusLine.setAttribute("role", "status");
document.body.append(statusLine);

const sortKey = (row, column, isNumber) => {
  const cell = row.cells[column];
  const time = cell.querySelector("time");
  if (time) return time.dateTime;
  const text = cell.textContent.trim();
  if (!isNumber) return text === "–" ? null : text;
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? null : number;
};

const sortBy = (header) => {
  const column = header.cellIndex;
  const isNumber = header.classList.contains("number");
  const descending = header.ariaSort ? header.ariaSort !== "descending" : isNumber;
  const body = header.closest("table").tBodies[0];
  const keyed = Array.from(body.rows, (row) => [sortKey(row, column, isNumber), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
    return descending ? -order : order;
  });
  const direction = descending ? "descending" : "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  body.append(...keyed.map(([, row]) => row));
  statusLine.textContent = `Sorted by ${header.textContent}, ${direction}`;
};

for (const header of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  button.addEventListener("click", () => sortBy(header));
  header.append(button);
}

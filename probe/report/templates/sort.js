/* Makes the heads of sortable tables buttons: they sort the rows up, then down, then put them back. */
{
  const VERDICTS = ["established", "passed", "not specific", "undecided", "refuted", "failed"];
  const words = new Intl.Collator(document.documentElement.lang, { numeric: true });

  /* What a cell is sorted by: a number, or text; NaN where it is missing. */
  const keyOf = (cell) => {
    const text = cell.textContent.trim();
    if (text === "–") return NaN;
    /* An interval is sorted by its lower end. */
    const number = text.replace("[", "").replace("∞", "Infinity").replace(/−/g, "-");
    if (cell.matches(".number")) return parseFloat(number);
    const verdict = cell.querySelector(".verdict bdi");
    return verdict ? `${(VERDICTS.indexOf(verdict.textContent) + 7) % 7}` : text;
  };
  const compare = (a, b) => (typeof a === "string" ? words.compare(a, b) : a - b);

  for (const table of document.querySelectorAll("table.sortable")) {
    const [body] = table.tBodies;
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const next = { null: "ascending", ascending: "descending" }[head.getAttribute("aria-sort")];
        for (const one of heads) one.removeAttribute("aria-sort");
        if (next) head.setAttribute("aria-sort", next);
        const order = (one, other) => {
          const [a, b] = [one, other].map((row) => keyOf(row.cells[column]));
          /* What is missing stands last, whichever way. */
          const missing = (a !== a) - (b !== b);
          return missing || (next === "ascending" ? compare(a, b) : compare(b, a));
        };
        body.append(...(next ? rows.toSorted(order) : rows));
      };
    });
  }
}

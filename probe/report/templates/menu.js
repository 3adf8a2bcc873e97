/* What a reader takes away: figures as SVG and PNG as they stand on the page, plain CSV, and a line of Python. */
if (location.protocol !== "about:") {
  const NS = "http://www.w3.org/2000/svg";
  /* Around panels, between them, and for the title above each, in CSS pixels; and the pixels of one of them in a PNG. */
  const [EDGE, GAP, TITLE, SHARP] = [12, 24, 28, 2.5];
  const [INK, PAPER] = ["#1c2127", "#ffffff"];

  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const element = (name, attributes, text = "") => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const shown = (one) => getComputedStyle(one).visibility === "visible";

  /* The pictures of a figure side by side on white, without what the page hides of them, and in no page's colours. */
  const picture = (figure) => {
    const whole = element("svg", { "font-family": getComputedStyle(figure).fontFamily });
    whole.append(element("rect", { x: -EDGE, y: -EDGE, width: "100%", height: "100%", fill: PAPER }));
    let [width, height] = [-GAP, 0];
    for (const part of [...figure.querySelectorAll(".picture svg")].filter(shown)) {
      const copy = part.cloneNode(true);
      const copies = [...copy.querySelectorAll("*")];
      part.querySelectorAll("*").forEach((one, place) => shown(one) || copies[place].remove());
      const title = part.parentElement.previousElementSibling;
      const top = title?.matches(".panel") ? TITLE : 0;
      width += GAP;
      if (top) whole.append(element("text", { x: width, y: 20, fill: INK, "font-size": 17, "font-weight": 600 }, title.textContent));
      copy.setAttribute("x", width);
      copy.setAttribute("y", top);
      whole.append(copy);
      width += part.width.baseVal.value;
      height = Math.max(height, top + part.height.baseVal.value);
    }
    [width, height] = [width + 2 * EDGE, height + 2 * EDGE];
    whole.setAttribute("width", width);
    whole.setAttribute("height", height);
    whole.setAttribute("viewBox", `${-EDGE} ${-EDGE} ${width} ${height}`);
    return { width, height, text: new XMLSerializer().serializeToString(whole).replaceAll("currentColor", INK) };
  };
  const savePng = async ({ width, height, text }, name) => {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * SHARP, height * SHARP];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, name));
  };

  /* What bzip2 packed: browsers unpack other formats, of which machines write several versions. */
  const unpack = (data) => {
    let at = 32;
    const bits = (count) => {
      let value = 0;
      for (const end = at + count; at < end; at++) value = value * 2 + ((data[at >> 3] >> (7 - (at & 7))) & 1);
      return value;
    };
    const first = (list, place) => list.unshift(...list.splice(place, 1)) && list[0];
    const out = [];
    while (bits(48) === 0x314159265359) {
      at += 33;
      const origin = bits(24);
      const [rows, used] = [bits(16), []];
      for (let row = 0; row < 16; row++) {
        const set = (rows >> (15 - row)) & 1 ? bits(16) : 0;
        for (let place = 0; place < 16; place++) if ((set >> (15 - place)) & 1) used.push(16 * row + place);
      }
      const groups = bits(3);
      const order = Array.from({ length: groups }, (_, place) => place);
      const chosen = Array.from({ length: bits(15) }, () => {
        let place = 0;
        while (bits(1)) place++;
        return first(order, place);
      });
      const end = used.length + 1;
      const trees = Array.from({ length: groups }, () => {
        let length = bits(5);
        const lengths = Array.from({ length: end + 1 }, () => {
          while (bits(1)) length += bits(1) ? -1 : 1;
          return length;
        });
        const tree = new Map();
        for (let long = 1, code = 2; long <= 20; long++, code *= 2) {
          lengths.forEach((one, symbol) => one === long && tree.set(code++, symbol));
        }
        return tree;
      });
      const last = [];
      for (let count = 0, run = 0, weight = 1; ; count++) {
        const tree = trees[chosen[Math.floor(count / 50)]];
        let code = 1;
        while (!tree.has(code)) code = code * 2 + bits(1);
        const symbol = tree.get(code);
        if (symbol < 2) {
          run += weight << symbol;
          weight *= 2;
          continue;
        }
        for (; run > 0; run--) last.push(used[0]);
        weight = 1;
        if (symbol === end) break;
        last.push(first(used, symbol - 1));
      }
      const places = new Uint32Array(257);
      for (const byte of last) places[byte + 1]++;
      for (let byte = 0; byte < 256; byte++) places[byte + 1] += places[byte];
      const next = new Uint32Array(last.length);
      last.forEach((byte, place) => (next[places[byte]++] = place));
      let [same, before] = [0, -1];
      for (let count = 0, place = next[origin]; count < last.length; count++, place = next[place]) {
        const byte = last[place];
        if (same === 4) {
          for (let more = byte; more > 0; more--) out.push(before);
          same = 0;
          continue;
        }
        same = byte === before ? same + 1 : 1;
        before = byte;
        out.push(byte);
      }
    }
    return new Uint8Array(out);
  };

  const button = (words, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.onclick = act;
    return made;
  };
  for (const link of document.querySelectorAll('a[download$=".bz2"]')) {
    link.onclick = (event) => {
      event.preventDefault();
      const packed = Uint8Array.from(atob(link.href.split(",")[1]), (letter) => letter.charCodeAt(0));
      save(new Blob([unpack(packed)], { type: "text/csv" }), link.download.replace(".bz2", ""));
    };
  }
  for (const menu of document.querySelectorAll(".menu")) {
    const [figure, { name }] = [menu.closest("figure"), menu.dataset];
    menu.firstElementChild.after(
      button("SVG", () => save(new Blob([picture(figure).text], { type: "image/svg+xml" }), `${name}.svg`)),
      button("PNG", () => savePng(picture(figure), `${name}.png`)),
    );
    const code = menu.querySelector("pre");
    if (!code || !navigator.clipboard) continue;
    const copy = button("Copy", () =>
      navigator.clipboard.writeText(code.textContent).then(
        () => (copy.textContent = "Copied"),
        () => getSelection().selectAllChildren(code),
      ),
    );
    code.after(copy);
  }
}

// What a reader sets: the address, sequences and edits as text, and what is said where they make no sense.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { engine } from "../golden.mjs";

const base64 = (count) => Buffer.from(Float64Array.from({ length: count }, (_, k) => ((k * 7) % 11) / 11 - 0.5).buffer).toString("base64");
const network = (family, rows, change) => ({
  name: family,
  role: "",
  layers: [{ name: "cell[0]", family, relu: false, units: 2, inputs: 1, bias: true }],
  scores: 3,
  head_bias: true,
  softmax: true,
  dtype: "float64",
  weights: base64(rows * 2 * (1 + 2 + 2) + 3 * 3),
  alphabet: { 0: [0], 1: [1] },
  trained_lengths: [3],
  programs: [],
  look: "trained",
  legend: "trained",
  moves: [[1, 0.4]],
  over: 0,
  ...change,
});
const networks = [network("lstm", 4), network("gru", 3, { alphabet: null })];
const data = { networks, example: "011", classes: ["a", "b", "c"], truth: "", beside: [0], experiments: [] };
const first = engine.initial(data);
const draft = { kind: "clamp", layer: 0, signal: "forget_gate", units: "1", steps: "-1", value: "0.5" };
const outcome = (change) => engine.outcomeOf(data, { ...first, ...change });

test("a state survives its address", () => {
  const state = { ...first, network: 1, x: "0.5;-1;+ &#", y: "1;2", view: "difference", signal: "candidate", unit: 1, edits: [draft, draft], put: "u1", from: 2, at: 0 };
  assert.deepEqual(engine.fromHash(engine.toHash(state), data), state);
  assert.deepEqual(engine.fromHash(engine.toHash({ ...first, x: "" }), data), { ...first, x: "" });
});

test("an address of a section holds no state", () => {
  assert.equal(engine.fromHash("#claims", data), null);
  assert.equal(engine.fromHash("", data), null);
});

const HOSTILE = [
  "#x=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&network=99&view=__proto__&layer=-1&unit=1e999&step=NaN",
  "#x=0&edit=%7B%22__proto__%22%3A1%7D&edit=%5B%22constructor%22%2C0%2C%22a%22%2C%22b%22%2C%22c%22%2C%22d%22%5D&edit=null&edit=%5B",
  "#x=constructor&edit=" + encodeURIComponent(JSON.stringify(["clamp", { toString: 1 }, "hidden_state", "0", "0", "1"])),
  "#x=0&put=constructor&from=-1&at=1e999",
  "#x=0&edit=" + encodeURIComponent(JSON.stringify(["json", 0, "", "", "", '{"format":"rnn-probe edit 1","site":{"units":"x"}}'])),
];
for (const hash of HOSTILE) {
  test(`a hostile address is a state like others: ${hash.slice(0, 60)}`, () => {
    const state = engine.fromHash(hash, data);
    assert.equal(state.network, 0);
    assert.equal(state.view, "after");
    assert.equal(state.layer, 0);
    assert.deepEqual([state.put, state.from, state.at], ["", 0, 0]);
    for (const { kind, layer } of state.edits) assert.deepEqual([["clamp", "json"].includes(kind), layer], [true, 0]);
    const { before, error } = engine.outcomeOf(data, state);
    assert.ok(before || /is no symbol here/.test(error), error);
  });
}

const SAID = [
  [{ x: "" }, /is empty/],
  [{ x: "0120" }, /Step 3 is "2", which is no symbol here. The symbols are 0 1/],
  [{ x: "0".repeat(2001) }, /2001 steps; up to 2000/],
  [{ network: 1, x: "0.5;x" }, /"x" is no number/],
  [{ network: 1, x: "0.5;1 2" }, /Step 2 has 2 numbers; the network reads 1/],
  [{ edits: [{ ...draft, units: "two" }] }, /units: "two" is no whole number/],
  [{ edits: [{ ...draft, units: "2" }] }, /units=2 lies outside layer cell\[0\], which has 2/],
  [{ edits: [{ ...draft, value: "" }] }, /"" is no number/],
  [{ edits: [{ ...draft, signal: "update_gate" }] }, /has no signal "update_gate"/],
  [{ y: "01", edits: [{ ...draft, kind: "patch", steps: "3" }] }, /Step 3 lies outside the second sequence, which has 2/],
  [{ edits: [{ ...draft, steps: "4" }] }, /Step 4 lies outside the input, which has 3/],
  [{ edits: [{ ...draft, steps: "-4" }] }, /Step -4 lies outside the input, which has 3/],
  [{ edits: [{ ...draft, steps: "1 0" }] }, /There is no step 0: steps count from 1/],
  [{ edits: [{ ...draft, steps: "3 -1" }] }, /steps: one is named twice/],
  [{ edits: [{ ...draft, kind: "json", value: "nothing" }] }, /no JSON/],
  [{ y: "011 0110", edits: [{ ...draft, kind: "mean" }] }, /have 3 and 4 steps; write them equally long/],
  [{ y: "1 2", edits: [{ ...draft, kind: "mean", steps: "1" }] }, /Step 1 is "2"/],
  [{ y: " ", edits: [{ ...draft, kind: "mean" }] }, /is empty/],
  [{ y: "01 ".repeat(1001), edits: [{ ...draft, kind: "mean" }] }, /2002 steps in all; up to 2000/],
  [{ y: "011", edits: [{ ...draft, kind: "resample", value: "-1" }] }, /seed: "-1" is no whole number from 0/],
];
for (const [change, message] of SAID) {
  test(`what cannot be run is said: ${message.source}`, () => {
    const { after, error } = outcome(change);
    assert.equal(after, null);
    assert.match(error, message);
  });
}

test("a clamp, an ablation and a steering put what they say at their place", () => {
  const at = (edits) => outcome({ edits }).after.layers[0][2 * 20 + 5 * 2 + 1];
  const plain = outcome({}).before.layers[0][2 * 20 + 5 * 2 + 1];
  assert.equal(at([draft]), 0.5);
  assert.equal(at([{ ...draft, kind: "ablate" }]), 0);
  assert.equal(at([{ ...draft, kind: "steer", value: "0.25" }]), plain + 0.25);
});

test("the first step is 1, and what is copied as Python says that it counts from 0", () => {
  const state = { ...first, edits: [{ ...draft, steps: "1 3" }] };
  const { edits, network: opened } = engine.outcomeOf(data, state);
  assert.deepEqual(edits[0].site.steps, [0, 2]);
  const counted = "# Python counts steps from 0: the page's step 1 is steps=[0] here.\nedits = [\n";
  const code = engine.pythonOf(data, state, opened);
  assert.ok(code.includes(counted) && code.includes("steps=[0, 2]"));
  assert.ok(engine.pythonOf(data, { ...first, put: "c" }, opened).includes(counted));
  assert.ok(!engine.pythonOf(data, first, opened).includes("#"));
});

test("a patch of the cell state recomputes h, and a patch of everything gives the other run", () => {
  const patch = { ...draft, kind: "patch", signal: "cell_state", units: "all", steps: "2" };
  const { after } = outcome({ y: "100", edits: [patch] });
  const other = engine.outcomeOf(data, { ...first, x: "100" }).before;
  const [c, o, h] = [8, 7, 9].map((signal) => 20 + signal * 2);
  assert.equal(after.layers[0][c], other.layers[0][c]);
  assert.equal(after.layers[0][h], after.layers[0][o] * Math.tanh(after.layers[0][c]));
  assert.notEqual(after.layers[0][h], outcome({}).before.layers[0][h]);
  const same = outcome({ y: "011", edits: [patch] });
  assert.deepEqual(same.after, same.before);
});

test("a mean is that of the second sequences, a resample one of them, and a patch the first", () => {
  const y = ["110", "001", "100"];
  const place = 1 * 20 + 8 * 2 + 1;
  const held = y.map((x) => engine.outcomeOf(data, { ...first, x }).before.layers[0][place]);
  const edit = { ...draft, signal: "cell_state", steps: "2" };
  const put = (kind, value = "") => outcome({ y: "110, 001  100 ", edits: [{ ...edit, kind, value }] }).after.layers[0][place];
  assert.ok(Math.abs(put("mean") - (held[0] + held[1] + held[2]) / 3) < 1e-15);
  assert.equal(put("patch"), held[0]);
  const drawn = Array.from({ length: 12 }, (_, seed) => held.indexOf(put("resample", String(seed))));
  assert.deepEqual([...new Set(drawn)].sort(), [0, 1, 2]);
});

/** The values of one signal of the LSTM's step, in the order of its ten signals. */
const at = (run, step, signal) => [...run.layers[0].slice(step * 20 + signal * 2, step * 20 + signal * 2 + 2)];
const [C, H] = [8, 9];

test("the handle puts in what another sequence kept after a step, and the rest is as if that had been read", () => {
  const other = engine.outcomeOf(data, { ...first, x: "10" }).before;
  const { before, after, edits } = outcome({ y: "100", put: "all", from: 1, at: 0 });
  assert.deepEqual(edits.map(({ edit, site }) => [edit, site.signal, site.steps]), [["clamp", "cell_state", [0]], ["clamp", "hidden_state", [0]]]);
  assert.deepEqual([at(after, 0, C), at(after, 0, H)], [at(other, 1, C), at(other, 1, H)]);
  assert.notDeepEqual(at(after, 0, C), at(before, 0, C));
  const spliced = engine.outcomeOf(data, { ...first, x: "1011" }).before;
  assert.deepEqual([...engine.scoresAt(after, -1)], [...engine.scoresAt(spliced, -1)]);
});

test("the handle puts in one signal or one unit alone", () => {
  const held = at(engine.outcomeOf(data, { ...first, x: "10" }).before, 1, C);
  const { before, after } = outcome({ y: "100", put: "u1", from: 1, at: 1 });
  assert.deepEqual(at(after, 1, C), [at(before, 1, C)[0], held[1]]);
  const { edits } = outcome({ y: "100", put: "h", from: 1, at: 1 });
  assert.deepEqual(edits.map(({ site }) => site.signal), ["hidden_state"]);
  assert.equal(outcome({ y: "100", put: "u7", from: 1, at: 1 }).edits.length, 0);
  assert.deepEqual(outcome({ y: "100", put: "c", from: 99, at: 99 }).edits[0].site.steps, [2]);
});

const counted = { name: "ones", role: "", start: 0, steps: { 0: [1, 0], 1: [1, 1] } };
const judged = { ...data, truth: "ones", networks: [network("lstm", 4, { programs: [counted] }), networks[1]] };

test("what is drawn is what the engine answers after each step, and what the program says", () => {
  const state = { ...first, x: "0111" };
  const [drawn] = engine.drawnOf(judged, state);
  const own = engine.outcomeOf(judged, state);
  const said = [0, 1, 2, 3].map((step) => engine.argmax(engine.answersAt(own.before, step, own.network)));
  assert.deepEqual(drawn.answers, said);
  assert.deepEqual(drawn.truth, [0, 1, 2, 3]);
  assert.deepEqual(drawn.wrong, said.map((place, step) => place !== step));
  assert.equal(drawn.unedited, null);
  assert.deepEqual(drawn.memory.units.map(({ values }) => values[3]), at(own.before, 3, C));
});

test("with a memory put in, what is right is what the other sequence had counted and the rest adds", () => {
  assert.deepEqual(engine.truthOf(judged, { ...first, x: "0110", y: "1111", put: "all", from: 2, at: 1 }, 0), [0, 3, 4, 4]);
  assert.equal(engine.truthOf(judged, first, 1), null);
});

test("where the other sequence cannot be read that is said, and the run is drawn as it is", () => {
  const state = { ...first, x: "0111", put: "all", y: "1x" };
  const [drawn] = engine.drawnOf(judged, state);
  assert.match(drawn.outcome.error, /Step 2 is "x", which is no symbol here/);
  assert.deepEqual([drawn.truth, drawn.unedited], [[0, 1, 2, 3], null]);
});

test("a network that cannot read the sequence leaves the others theirs, and the choice takes the first one's place", () => {
  const both = { ...judged, networks: [judged.networks[0], network("gru", 3, { alphabet: { a: [0], 1: [1] } })], beside: [0, 1] };
  const [one, other] = engine.drawnOf(both, first);
  assert.equal(one.place, 0);
  assert.match(other.error, /Step 1 is "0", which is no symbol here/);
  assert.deepEqual(engine.drawnOf({ ...judged, beside: [0] }, { ...first, network: 1, x: "1;0" }).map(({ place }) => place), [1]);
});

test("of many units those that move the answer most are drawn, these first, and of many steps as many as fit", () => {
  const far = Array.from({ length: 40 }, (_, unit) => ((unit * 7) % 40) / 39);
  const wide = network("rnn", 1, {
    layers: [{ name: "rnn[0]", family: "rnn", relu: false, units: 40, inputs: 1, bias: false }],
    weights: base64(40 + 1600 + 3 * 41), moves: [far], over: 1024,
  });
  const one = { ...data, networks: [wide] };
  const [{ memory, ...drawn }] = engine.drawnOf(one, { ...engine.initial(one), x: "01".repeat(20), step: 32 });
  assert.deepEqual([drawn.start, drawn.count, memory.units.length, memory.of], [32, 8, 24, 40]);
  assert.deepEqual(memory.units.map(({ unit }) => far[unit]), far.toSorted((a, b) => b - a).slice(0, 24));
  assert.deepEqual(memory.units.map(({ bold }) => bold), Array.from({ length: 24 }, (_, place) => place < 20));
  // A unit keeps its number, and so its values.
  const { layers } = drawn.outcome.before;
  for (const { unit, values } of memory.units) {
    assert.deepEqual(values, Array.from({ length: 8 }, (_, k) => layers[0][((32 + k) * 2 + 1) * 40 + unit]));
  }
  assert.match(memory.sorted, /^Units that move the answer most stand first: .* over 1,024 sequences\. Bold: /);
});

test("where no head reads a layer its units stand by how much they vary", () => {
  const bare = network("gru", 3, { scores: 0, head_bias: false, softmax: false, weights: base64(3 * 2 * (1 + 2 + 2)) });
  const [{ memory }] = engine.drawnOf({ ...data, networks: [bare], classes: [] }, first);
  assert.match(memory.sorted, /^Units whose h varies most over the example stand first\. Bold: /);
  const swapped = network("lstm", 4, { moves: [[0.4, 1]] });
  const [{ memory: turned }] = engine.drawnOf({ ...data, networks: [swapped] }, first);
  assert.deepEqual(turned.units.map(({ unit, bold }) => [unit, bold]), [[1, true], [0, false]]);
});

test("a space or a comma that is a symbol stands between no sequences", () => {
  const read = (symbols, y) => {
    const alphabet = Object.fromEntries([...symbols].map((symbol) => [symbol, [1]]));
    const one = { ...data, networks: [network("lstm", 4, { alphabet })], example: symbols };
    const edits = [{ ...draft, kind: "mean", steps: "1" }];
    return engine.outcomeOf(one, { ...engine.initial(one), y, edits }).error;
  };
  assert.equal(read("01 ", "0 1,1 0"), "");
  assert.match(read("01 ", "0 1,1"), /have 3 and 1 steps/);
  assert.equal(read("01 ,", "0 1,1"), "");
  assert.match(read("01,", "0,1 1"), /have 3 and 1 steps/);
});

test("at first the second sequence is another one than the example, so that a patch shows", () => {
  assert.equal(first.y, "100");
  const table = { ...data, networks: [networks[1]], example: "1;2;3" };
  assert.equal(engine.initial(table).y, "3;2;1");
});

/** A network that counts ones, h' = relu(h + x), whose head says the count up to 10. */
const weights = [1, 1, ...Array.from({ length: 11 }, (_, k) => k), ...Array.from({ length: 11 }, (_, k) => (-k * k) / 2)];
const counter = network("rnn", 1, {
  layers: [{ name: "rnn[0]", family: "rnn", relu: true, units: 1, inputs: 1, bias: false }],
  scores: 11,
  weights: Buffer.from(Float64Array.from(weights).buffer).toString("base64"),
});
for (const example of ["0110101101", "01", "0", "1", "1111", "0011", "010101010101"]) {
  test(`the memory that is put in at first moves the answer of a counter: ${example}`, () => {
    const counts = { ...data, networks: [counter], example, classes: [] };
    const start = engine.initial(counts);
    const said = (change) => {
      const { network: opened, after } = engine.outcomeOf(counts, { ...start, ...change });
      return engine.argmax(engine.scoresAt(after, -1), opened);
    };
    assert.equal(said({}), [...example].filter((bit) => bit === "1").length);
    assert.notEqual(said({ put: "all" }), said({}));
  });
}

test("spaces and commas around symbols are no symbols, unless the network reads them", () => {
  const read = (x, at = 0) => engine.typed(x, data.networks[at]);
  assert.equal(read(" 0 1 1 "), "011");
  assert.equal(read("0,1,\t1\n"), "011");
  assert.equal(read("0x 1"), "0x1");
  assert.equal(read("0.5 1; 2", 1), "0.5 1; 2");
  const spaced = network("lstm", 4, { alphabet: { 0: [0], " ": [1] } });
  assert.equal(engine.typed(" 0, ", spaced), " 0 ");
  assert.equal(engine.fromHash("#x=+0+1+1+", data).x, "011");
});

test("a program's number begins at its start, and each symbol changes it", () => {
  const balance = { name: "", role: "", start: 5, steps: { 0: [1, -0.5], 1: [1, 0.5] } };
  assert.deepEqual(engine.programAnswers(balance, "0110"), [4.5, 5, 5.5, 5]);
  const parity = { name: "", role: "", start: 0, steps: { 0: [1, 0], 1: [-1, 1] } };
  assert.deepEqual(engine.programAnswers(parity, "1101"), [1, 0, 0, 1]);
  assert.deepEqual([3, 4, 5].map((place) => engine.agrees(3.5, place)), [true, true, false]);
});

test("a length outside training is noted, and one inside is not", () => {
  const said = (steps, lengths, word = "bit") => engine.lengthNote({ steps }, lengths, word);
  assert.equal(said(6, [10]), "It was trained on ten bits; this string has six.");
  assert.equal(said(13, [1, 2, 3], "symbol"), "It was trained on 1 to 3 symbols; this string has 13.");
  assert.equal(said(4, [1, 3], "step"), "It was trained on one or three steps; this sequence has four.");
  assert.equal(said(2, [1]), "It was trained on one bit; this string has two.");
  assert.equal(said(3, [3]), "");
  assert.equal(said(3, []), "");
});

test("numbers are short, and zero has no sign", () => {
  assert.deepEqual([0.126, -0.001, -1.5, 123.4, -123456, 0].map(engine.shown), ["0.13", "0.00", "\u22121.50", "123", "\u22121.2e+5", "0.00"]);
});

test("the script is small, and the licence of what it contains lies beside it", () => {
  const read = (name) => readFileSync(new URL(`../../probe/explorer/${name}`, import.meta.url), "utf8");
  assert.ok(read("explorer.js").length <= 60_000);
  assert.match(read("explorer.licences.txt"), /preact \d+\.\d+\.\d+[\s\S]*The MIT License[\s\S]*Copyright/);
});

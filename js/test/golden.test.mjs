// The engine against the committed sample of what probe.intervene gives; Python makes a larger one in its own tests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, engine } from "../golden.mjs";

const COMMITTED = new URL("../../tests/data/explorer", import.meta.url).pathname;

test("every run of the sample equals Python's to 1e-12, and no answer differs", () => {
  const found = compare(COMMITTED);
  assert.ok(found.runs >= 2000, `${found.runs} runs`);
  assert.equal(found.wrong, false, JSON.stringify(found));
});

const SPOILED = {
  "a unit further": (edit) => edit.site.units && { ...edit, site: { ...edit.site, units: edit.site.units.toReversed() } },
  "a step further": (edit) => edit.site.steps && { ...edit, site: { ...edit.site, steps: edit.site.steps.toReversed() } },
  "another scale": (edit) => edit.edit === "steer" && { ...edit, scale: edit.scale + 1e-9 },
  "another seed": (edit) => edit.seed != null && { ...edit, seed: edit.seed + 1 },
  "another source": (edit) => edit.source_rows && { ...edit, source_rows: edit.source_rows.map((row) => (row + 1) % 3) },
  "all rows": (edit) => edit.site.rows && !edit.source_rows && { ...edit, site: { ...edit.site, rows: null } },
};

for (const [name, change] of Object.entries(SPOILED)) {
  test(`the comparison would notice: ${name}`, () => {
    const found = compare(COMMITTED, (edit) => change(edit) || edit);
    assert.equal(found.wrong, true, JSON.stringify(found));
  });
}

const layer = { name: "rnn[0]", family: "rnn", relu: false, units: 1, inputs: 1, bias: false };
const numbers = (...values) => Buffer.from(Float64Array.from(values).buffer).toString("base64");
const embedded = { name: "one", role: "", layers: [layer], scores: 0, head_bias: false, softmax: false };
const tiny = engine.openNetwork({ ...embedded, dtype: "float64", weights: numbers(0.5, 0.25) });
const edit = (site, rest) => {
  const where = { signal: "hidden_state", layer: null, units: null, steps: null, rows: null, call: null, ...site };
  return JSON.stringify({ format: "rnn-probe edit 1", site: where, ...rest });
};
const value = { dtype: "float64", shape: [], base64: numbers(2) };

test("an edit at a step enters the recurrence, and the steps before it stay", () => {
  const x = [1, 1, 1].map((bit) => Float64Array.of(bit));
  const before = engine.run(tiny, x).layers[0].filter((_, place) => place % 2);
  const clamped = engine.editFromJson(edit({ steps: [-2] }, { edit: "clamp", value }));
  const after = engine.run(tiny, x, [clamped]).layers[0].filter((_, place) => place % 2);
  assert.equal(after[0], before[0]);
  assert.deepEqual([...after.slice(1)], [2, Math.tanh(0.5 + 0.25 * 2)]);
});

const REFUSED = [
  ["{", /no JSON/],
  ["{}", /no edit as Edit.to_json/],
  [edit({ units: [1] }, { edit: "clamp", value }), /units=1 lies outside layer rnn\[0\], which has 1/],
  [edit({ steps: [3] }, { edit: "clamp", value }), /Step 4 lies outside the input, which has 2/],
  [edit({ steps: [0, -2] }, { edit: "clamp", value }), /one is named twice/],
  [edit({ layer: "gru" }, { edit: "clamp", value }), /No layer gru here/],
  [edit({ signal: "cell_state" }, { edit: "clamp", value }), /computes cell_state; the layers are rnn\[0\]/],
  [edit({ call: 1 }, { edit: "clamp", value }), /called once/],
  [edit({}, { edit: "clamp", value: { ...value, dtype: "float16" } }), /type float16/],
  [edit({}, { edit: "clamp", value: { path: "x", sha256: "y" } }), /lies in a file/],
  [edit({}, { edit: "clamp", value: { ...value, shape: [2] } }), /values of 2 units for 1/],
  [edit({}, { edit: "patch", values: { ...value, shape: [1, 1, 1] }, source_rows: null }), /values of 1 steps for 2/],
  [edit({ steps: [0] }, { edit: "patch", values: { ...value, shape: [1, 1, 1] }, source_rows: [1] }), /no row 1/],
  [
    edit({ steps: [0] }, { edit: "patch", values: { ...value, shape: [1, 1, 1], base64: numbers(NaN) }, source_rows: null }),
    /no number/,
  ],
  [edit({}, { edit: "shuffle" }), /no edit shuffle/],
];

for (const [text, message] of REFUSED) {
  test(`what cannot be done is said: ${message.source}`, () => {
    const x = [0, 1].map((bit) => Float64Array.of(bit));
    assert.throws(() => engine.run(tiny, x, [engine.editFromJson(text)]), message);
  });
}

test("an edit of a stack that names no layer is refused", () => {
  const two = { ...embedded, layers: [layer, { ...layer, name: "rnn[1]" }], dtype: "float64", weights: numbers(1, 1, 1, 1) };
  const network = engine.openNetwork(two);
  const clamped = engine.editFromJson(edit({}, { edit: "clamp", value }));
  assert.throws(() => engine.run(network, [Float64Array.of(1)], [clamped]), /several layers have it \(rnn\[0\], rnn\[1\]\)/);
});

test("a network whose numbers do not fit its layers is refused", () => {
  const broken = { ...embedded, dtype: "float64", weights: numbers(1, 1, 1) };
  assert.throws(() => engine.openNetwork(broken), /one has 3 parameters; 2 fit/);
});

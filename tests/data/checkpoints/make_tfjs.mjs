// Write a model of TensorFlow.js, and what it computes from it itself: `node make_tfjs.mjs`, with @tensorflow/tfjs
// installed beside this file; it is not needed to test.

import fs from "node:fs";
import * as tf from "@tensorflow/tfjs";

const FOLDER = new URL("tfjs/", import.meta.url);
const [BATCH, TIME, INPUTS, UNITS] = [3, 6, 2, 3];
const sequences = { units: UNITS, returnSequences: true };
const layers = {
  lstm: tf.layers.lstm({ ...sequences, name: "lstm" }),
  gru: tf.layers.gru({ ...sequences, name: "gru" }),
  plain: tf.layers.simpleRNN({ ...sequences, name: "plain" }),
  sigmoid: tf.layers.lstm({ ...sequences, name: "sigmoid", recurrentActivation: "sigmoid" }),
  both: tf.layers.bidirectional({ layer: tf.layers.lstm(sequences), mergeMode: "concat", name: "both" }),
};
const entry = tf.input({ shape: [TIME, INPUTS], name: "x" });
const model = tf.model({ inputs: entry, outputs: Object.values(layers).map((layer) => layer.apply(entry)) });
model.setWeights(model.getWeights().map((weight, seed) => tf.randomNormal(weight.shape, 0, 1, "float32", seed + 1)));
const x = tf.randomNormal([BATCH, TIME, INPUTS], 0, 1, "float32", 100);

fs.mkdirSync(FOLDER, { recursive: true });
await model.save({
  save: async (made) => {
    const bytes = Buffer.from(made.weightData);
    const half = 100; // within an array
    const paths = ["group1-shard1of2.bin", "group1-shard2of2.bin"];
    fs.writeFileSync(new URL(paths[0], FOLDER), bytes.subarray(0, half));
    fs.writeFileSync(new URL(paths[1], FOLDER), bytes.subarray(half));
    const { modelTopology, format, generatedBy, convertedBy, weightSpecs: weights } = made;
    const manifest = { modelTopology, format, generatedBy, convertedBy, weightsManifest: [{ paths, weights }] };
    fs.writeFileSync(new URL("model.json", FOLDER), JSON.stringify(manifest));
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
  },
});
const outputs = model.predict(x);
const computed = Object.fromEntries(Object.keys(layers).map((name, at) => [name, outputs[at].arraySync()]));
fs.writeFileSync(new URL("references.json", FOLDER), JSON.stringify({ x: x.arraySync(), ...computed }));

// The same run as Python that needs torch and rnn-probe alone: the weights stand in the code.

import { putSites, takenAt } from "./memory";
import { type Network } from "./network";
import { type Data, type Draft, inputsOf, siteOf, sourcesOf, type State, takes } from "./state";

/** Text as a literal that Python reads as that text, whatever is in it. */
const quoted = (text: string) => JSON.stringify(text).replace(/\p{Surrogate}/gu, "\\ufffd");
/** A number as a literal that Python reads as a float. */
const real = (number: number) => (/^-?\d+$/.test(`${number}`) ? `${number}.0` : `${number}`);
const MODULES = { lstm: "LSTM", gru: "GRU", rnn: "RNN" };
/** What stands above the edits, whose numbers are not those of the page. */
const COUNTED = "# Python counts steps from 0: the page's step 1 is steps=[0] here.\n";
/** How wide the lines of weights are. */
const WIDTH = 100;

/** Return the Python that makes the network, runs it before and after the edits, and prints both outputs. */
export function pythonOf(data: Data, state: State, network: Network): string {
  const described = data.networks[state.network];
  const listed = (parts: readonly string[]) => `[${parts.join(", ")}]`;
  const batch = (sequences: readonly Float64Array[][]) => {
    const rows = sequences.map((steps) => listed(steps.map((step) => listed(Array.from(step, real)))));
    return `torch.tensor(${listed(rows)}, dtype=torch.float64)`;
  };
  const recorded = () => `source = probe.record(model, ${batch(sourcesOf(state.y, described))}, signals=probe.Signal)\n`;
  const x = inputsOf(state.x, described);
  const calls = [...state.edits.map((draft) => callOf(draft, network)), ...putOf(state, described, network, x.length)];
  const edits = calls.map((call) => `    ${call},\n`).join("");
  return `${networkOf(network)}
x = ${batch([x])}
${state.edits.some(takes) || state.put ? recorded() : ""}${edits && COUNTED}edits = [
${edits}]
before = probe.record(model, x, signals=probe.Signal)
after = probe.record(model, x, edits=edits, signals=probe.Signal)
for name, run in (("before", before), ("after", after)):
    print(name, ${outputOf(network)}.tolist())
`;
}

/** Return the calls of the handle: what the other sequence's run keeps after a step, held at a step. */
function putOf(state: State, described: Data["networks"][number], network: Network, steps: number): string[] {
  return putSites(state, network, steps).map(({ signal, layer, units, steps: at }) => {
    const from = takenAt(state, sourcesOf(state.y, described)[0].length);
    const [of, only] = units ? [`, [${units}]`, `units=[${units}], `] : ["", ""];
    const value = `source[${quoted(layer as string)}, ${quoted(signal)}][0, ${from}${of}]`;
    return `probe.clamp(${quoted(signal)}, ${value}, layer=${quoted(layer as string)}, ${only}steps=[${at}])`;
  });
}

function callOf(draft: Draft, network: Network): string {
  if (draft.kind === "json") return `probe.Edit.from_json(${quoted(draft.value)})`;
  const { signal, layer, units, steps } = siteOf(draft, network);
  const count = units?.length ?? network.layers[0].units;
  const value = real(Number(draft.value));
  const [made, ...given] = {
    clamp: ["clamp", value],
    ablate: ["ablate"],
    mean: ["ablate", 'kind="mean"', "reference=source"],
    resample: ["ablate", 'kind="resample"', "reference=source", `seed=${Number(draft.value)}`],
    patch: ["patch", "source", "source_rows=[0]"],
    steer: ["steer", `[${Array(count).fill(value).join(", ")}]`],
  }[draft.kind];
  const options = [`layer=${quoted(layer as string)}`];
  if (units) options.push(`units=[${units.join(", ")}]`);
  if (steps) options.push(`steps=[${steps.join(", ")}]`);
  return `probe.${made}(${[quoted(signal), ...given, ...options].join(", ")})`;
}

/** The recurrent module's path inside the model: a layer's name without its number. */
const pathOf = (network: Network) => network.layers[0].name.replace(/\[\d+\]$/, "");

function networkOf(network: Network): string {
  const { layers, head, embedded } = network;
  const [{ family, inputs, units, relu }] = layers;
  const options = [`${inputs}, ${units}, num_layers=${layers.length}, batch_first=True`];
  if (!embedded.layers[0].bias) options.push("bias=False");
  if (relu) options.push('nonlinearity="relu"');
  const module = `torch.nn.${MODULES[family]}(${options.join(", ")})`;
  const path = pathOf(network);
  const linear = head ? `torch.nn.Linear(${units}, ${head.W.length / units}, bias=${embedded.head_bias ? "True" : "False"})` : "";
  const wrapped = path ? inside(path, module, linear) : "";
  // A recurrent module alone keeps the names that its layers have alone: its head stands beside it.
  const beside = !path && head ? `head = ${linear}.double()\n` : "";
  const filled = beside ? "[*model.parameters(), *head.parameters()]" : "model.parameters()";
  const lines = embedded.weights.match(new RegExp(`.{1,${WIDTH}}`, "g")) ?? [];
  return `import base64

import probe
import torch

${wrapped}
model = ${path ? "Network()" : module}
weights = base64.b64decode(
${lines.map((line) => `    "${line}"\n`).join("")})
numbers = torch.frombuffer(bytearray(weights), dtype=torch.${embedded.dtype}).double()
model.double().eval()
${beside}torch.nn.utils.vector_to_parameters(numbers, ${filled})
`;
}

function inside(path: string, module: string, linear: string): string {
  const names = path.split(".");
  // The submodule "" is the module itself.
  const added = (depth: number, made: string) =>
    `        self.get_submodule(${quoted(names.slice(0, depth).join("."))}).add_module(${quoted(names[depth])}, ${made})\n`;
  const holders = names.slice(0, -1).map((_, depth) => added(depth, "torch.nn.Module()"));
  const head = names[0] === "readout" ? "readout_" : "readout";
  const hidden = `self.get_submodule(${quoted(path)})(x)[0][:, -1]`;
  const line = linear ? `        self.${head} = ${linear}\n` : "";
  return `
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
${holders.join("")}${added(names.length - 1, module)}${line}
    def forward(self, x):
        return ${linear ? `self.${head}(${hidden})` : hidden}

`;
}

function outputOf({ layers, head, embedded }: Network): string {
  const last = layers[layers.length - 1].name;
  const hidden = `run[${quoted(last)}, "hidden_state"][0, -1]`;
  const output = !last.startsWith("[") ? "run.output[0]" : head ? `head(${hidden})` : hidden;
  return embedded.softmax ? `${output}.softmax(0)` : output;
}

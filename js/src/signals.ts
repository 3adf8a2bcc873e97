// What a recurrent layer computes at a step, by the names of probe.Signal, in the order in which a step computes it.

export const SIGNALS = {
  lstm: [
    "input_gate_preactivation",
    "forget_gate_preactivation",
    "cell_candidate_preactivation",
    "output_gate_preactivation",
    "input_gate",
    "forget_gate",
    "cell_candidate",
    "output_gate",
    "cell_state",
    "hidden_state",
  ],
  gru: [
    "reset_gate_preactivation",
    "update_gate_preactivation",
    "reset_gate",
    "update_gate",
    "candidate_recurrent",
    "candidate_preactivation",
    "candidate",
    "hidden_state",
  ],
  rnn: ["hidden_state_preactivation", "hidden_state"],
} as const;

export type Family = keyof typeof SIGNALS;
/** How many rows of a layer's matrices belong to one unit. */
export const ROWS: Record<Family, number> = { lstm: 4, gru: 3, rnn: 1 };

const LETTERS: Record<string, string> = {
  input_gate: "i",
  forget_gate: "f",
  cell_candidate: "g",
  output_gate: "o",
  cell_state: "c",
  hidden_state: "h",
  reset_gate: "r",
  update_gate: "z",
  candidate: "n",
  candidate_recurrent: "v",
};

/** Return the textbook's letter of a signal; that of a pre-activation is `a_` and the letter of what follows it. */
export function letter(signal: string): string {
  const plain = signal.replace("_preactivation", "");
  return (plain === signal ? "" : "a_") + LETTERS[plain];
}

/** What a signal is for, for who met such a layer once. */
export const MEANINGS: Readonly<Record<string, string>> = {
  input_gate: "how much of the candidate is written (0 nothing, 1 all)",
  forget_gate: "how much of the memory is kept (0 nothing, 1 all)",
  cell_candidate: "what may be written",
  output_gate: "how much of the memory is passed on (0 nothing, 1 all)",
  cell_state: "the memory, f \u00d7 its last value + i \u00d7 g",
  reset_gate: "how much of the last h the candidate sees (0 nothing, 1 all)",
  update_gate: "how much of the last h is kept (0 nothing, 1 all)",
  candidate: "what may be written",
  hidden_state: "what the next step and the output read",
};

export { editFromJson } from "./edits";
export { argmax, openNetwork, run, scoresAt, softmax } from "./network";

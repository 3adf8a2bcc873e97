// Programs that a network may be thought to run: a number that each symbol read changes. ExplorerProgram in Python.

/** What probe/explorer/rival_programs.py writes. */
export interface Program {
  readonly name: string;
  readonly role: string;
  readonly start: number;
  /** For each symbol what the number so far is multiplied with, and what is added then. */
  readonly steps: Readonly<Record<string, readonly [factor: number, offset: number]>>;
}

/** Return what a program answers after each symbol. */
export function programAnswers({ start, steps }: Program, symbols: string): number[] {
  let answer = start;
  return [...symbols].map((symbol) => {
    const [factor, offset] = steps[symbol];
    return (answer = factor * answer + offset);
  });
}

/** Whether a class is one that a program's answer is nearest to: where it says 3.5, both 3 and 4 are. */
export const agrees = (answer: number, place: number) => Math.abs(answer - place) <= 0.5 + 1e-9;


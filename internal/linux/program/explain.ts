import type { Item, Sequence } from './sequence.ts';
import { explainStep } from './step.ts';

/** A line for each step: `12 rootfs = openat2(…)  # open /rootfs`; branches and children indented. */
export function explainProgram(sequence: Sequence, indentation = ''): string[] {
  return sequence.items.flatMap((item) => explainItem(item, indentation));
}

function explainItem(item: Item, indentation: string): string[] {
  const { step, options, index } = item;
  const assignment = options.as === undefined ? '' : `${options.as} = `;
  const deeper = `${indentation}  `;
  const lines = [`${indentation}${index} ${assignment}${explainStep(step)}${notes(item)}`];
  const block = (title: string, sequence: Sequence | undefined): void => {
    if (sequence === undefined) return;
    lines.push(`${deeper}${title}:`, ...explainProgram(sequence, `${deeper}  `));
  };
  block('in the child', item.child?.body);
  block('if it succeeds', item.ifSucceeded);
  block('if it is tolerated', item.ifTolerated);
  return lines;
}

function notes({ label, options }: Item): string {
  const { tolerate, retryOn } = options;
  const list = (names: string | readonly string[]) => [names].flat().join(', ');
  const tolerated = tolerate === undefined ? '' : `; tolerates ${list(tolerate)}`;
  const retried = retryOn === undefined ? '' : `; again after ${list(retryOn)}`;
  return `  # ${label}${tolerated}${retried}`;
}

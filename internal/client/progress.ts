import type { Progress } from '../api/generated/containerd.types.transfer.ts';
import { binarySize } from './sizes.ts';

/** A blob or an image that a transfer is about. */
interface Line {
  readonly name: string;
  event: string;
  parents: readonly string[];
  progressBytes: number;
  totalBytes: number;
}

const BAR_CELLS = 40;
const MIN_BAR_CELLS = 10;

/** What a transfer has told so far, as lines of text. */
export class TransferProgress {
  readonly #startMs: number;
  readonly #lines = new Map<string, Line>();
  #whole = '';

  /** `startMs`: of the clock that {@link render} is given. */
  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  add({ event, name, parents, progress, total }: Progress): void {
    if (name === '') {
      this.#whole = event;
      return;
    }
    const line = this.#lines.get(name) ?? { name, event, parents, progressBytes: 0, totalBytes: 0 };
    line.event = event;
    if (parents.length > 0) line.parents = parents;
    line.progressBytes = Number(progress);
    line.totalBytes = Number(total);
    this.#lines.set(name, line);
  }

  /** Names of images that have been stored. */
  saved(): string[] {
    return [...this.#lines.values()]
      .filter(({ event }) => event === 'saved')
      .map(({ name }) => name);
  }

  /** The lines to show on a terminal of that many columns at a time, none longer than it is wide. */
  render(columns: number, nowMs: number): string[] {
    const lines = this.#ordered();
    const nameCells = Math.max(0, ...lines.map(({ name, depth }) => shown(name, depth).length));
    const rows = lines.map(({ line, name, depth }) => {
      return clip(this.#row(line, shown(name, depth), nameCells, columns), columns);
    });
    return [...rows, clip(this.#summary(nowMs), columns)];
  }

  #row(line: Line, name: string, nameCells: number, columns: number): string {
    const label = name.padEnd(Math.min(nameCells, Math.max(20, columns - 40)));
    if (!isMoving(line.event)) return `${label}  ${line.event}`;
    const sizes = `${binarySize(line.progressBytes)}/${binarySize(line.totalBytes)}`;
    const room = columns - label.length - line.event.length - sizes.length - 8;
    const cells = Math.min(BAR_CELLS, room);
    const bar = cells < MIN_BAR_CELLS ? '' : ` ${barText(line, cells)}`;
    return `${label}  ${line.event}${bar} ${sizes}`;
  }

  #summary(nowMs: number): string {
    const seconds = Math.max(0, nowMs - this.#startMs) / 1000;
    let bytes = 0;
    for (const line of this.#lines.values()) {
      if (isMoving(line.event) || line.event === 'complete') bytes += line.progressBytes;
    }
    const speed = seconds === 0 ? 0 : bytes / seconds;
    const times = `elapsed: ${seconds.toFixed(1)} s  total: ${binarySize(bytes)} (${binarySize(speed)}/s)`;
    return this.#whole === '' ? times : `${this.#whole}  ${times}`;
  }

  /** Lines below what refers to them, in the order of their first events. */
  #ordered(): { line: Line; name: string; depth: number }[] {
    const ordered: { line: Line; name: string; depth: number }[] = [];
    const drawn = new Set<string>();
    const draw = (line: Line, depth: number): void => {
      if (drawn.has(line.name)) return;
      drawn.add(line.name);
      ordered.push({ line, name: line.name, depth });
      for (const child of this.#lines.values()) {
        if (child.parents.includes(line.name)) draw(child, depth + 1);
      }
    };
    for (const line of this.#lines.values()) {
      if (!line.parents.some((parent) => this.#lines.has(parent))) draw(line, 0);
    }
    return ordered;
  }
}

const isMoving = (event: string): boolean => event === 'downloading' || event === 'uploading';

/** The hash of a blob is shortened to what tells it from others. */
function shown(name: string, depth: number): string {
  const short = name.replace(/^(.*sha(?:256|512):[0-9a-f]{12})[0-9a-f]+$/, '$1');
  return '  '.repeat(depth) + short;
}

function barText({ progressBytes, totalBytes }: Line, cells: number): string {
  const share = totalBytes > 0 ? Math.min(1, progressBytes / totalBytes) : 0;
  const full = Math.floor(share * cells);
  const tip = full < cells ? '>' : '';
  return `|${'+'.repeat(full)}${tip}${'-'.repeat(Math.max(0, cells - full - tip.length))}|`;
}

function clip(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** Fields that have their own place in a line. */
const FIRST = new Set(['time', 'level', 'msg']);
/** What needs no quotes (https://pkg.go.dev/github.com/sirupsen/logrus#TextFormatter). */
const PLAIN = /^[A-Za-z0-9\-._/@^+]+$/;

/** A line of JSON as containerd writes text: `time="…" level=info msg="…" key=value`. */
export function textLine(json: string): string {
  const fields = JSON.parse(json) as Record<string, unknown>;
  const more = Object.keys(fields)
    .filter((key) => !FIRST.has(key))
    .sort()
    .map((key) => ` ${key}=${valueText(fields[key])}`);
  return `time="${fields['time']}" level=${fields['level']} msg=${JSON.stringify(
    fields['msg'] ?? '',
  )}${more.join('')}\n`;
}

/** An error is its text; of other objects the JSON is shown. */
function valueText(value: unknown): string {
  const message = (value as { message?: unknown } | null)?.message;
  const text =
    typeof value === 'string'
      ? value
      : typeof message === 'string'
        ? message
        : JSON.stringify(value);
  return PLAIN.test(text) ? text : JSON.stringify(text);
}

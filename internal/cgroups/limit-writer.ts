import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import type { UpdateOptions } from './cgroup-manager.ts';

export type LimitValue = string | number | bigint;

/**
 * Writes limits into the files of one cgroup, and says on errors which property of the configuration
 * was being set: `linux.resources.pids.limit: write "7" to /sys/fs/cgroup/pids/a/pids.max: EINVAL`.
 */
export class LimitWriter {
  readonly #files: CgroupFiles;
  readonly #directories: Readonly<Record<string, string>>;
  readonly #isV2: boolean;
  readonly #byChild: boolean;

  /** `directories` by v1 controller, or one with the key `''` for cgroup v2. */
  constructor(
    files: CgroupFiles,
    directories: Readonly<Record<string, string>>,
    isV2: boolean,
    { byChild = false }: UpdateOptions = {},
  ) {
    this.#files = files;
    this.#directories = directories;
    this.#isV2 = isV2;
    this.#byChild = byChild;
  }

  /** Whether the file is there. */
  has(controller: string, file: string): boolean {
    const directory = this.#directory(controller);
    return directory !== undefined && this.#files.exists(`${directory}/${file}`);
  }

  /** Content of a file, undefined if it is not there. */
  read(controller: string, file: string): string | undefined {
    const directory = this.#directory(controller);
    return directory === undefined ? undefined : this.#files.tryRead(`${directory}/${file}`);
  }

  /** Sets `file` to `value` for `linux.resources.PROPERTY`. */
  set(controller: string, file: string, value: LimitValue, property: string): void {
    try {
      this.#files.write(this.#path(controller, file, property), String(value));
    } catch (thrown) {
      throw this.#failure(controller, property, thrown);
    }
  }

  /** As `set`, of what the writer may have to free memory for, or to move it. */
  *setSlowly(
    controller: string,
    file: string,
    value: LimitValue,
    property: string,
  ): Operation<void> {
    if (!this.#byChild) {
      this.set(controller, file, value, property);
      return;
    }
    try {
      yield* this.#files.writeByChild(this.#path(controller, file, property), String(value));
    } catch (thrown) {
      throw this.#failure(controller, property, thrown);
    }
  }

  #path(controller: string, file: string, property: string): string {
    const directory = this.#directory(controller);
    if (directory !== undefined) return `${directory}/${file}`;
    throw this.#noController(controller, `linux.resources.${property}`);
  }

  #failure(controller: string, property: string, thrown: unknown): TsError {
    const directory = this.#directory(controller);
    const error = TsError.from(thrown);
    if (directory === undefined) return error;
    const named = error.within(`linux.resources.${property}`);
    return error.fields['errno'] === 'ENOENT' ? this.#noFile(controller, named, directory) : named;
  }

  #directory(controller: string): string | undefined {
    return this.#directories[this.#isV2 ? '' : controller];
  }

  #noController(controller: string, property: string): TsError {
    return new TsError(
      'FailedPrecondition',
      `${property}: no hierarchy of the cgroup controller ${controller} is mounted`,
      {
        code: 'TS_CGROUP_NO_CONTROLLER',
        advice: `mount it (mount -t cgroup -o ${controller} cgroup DIRECTORY) or leave the limit out`,
        fields: { property, controller },
      },
    );
  }

  /** The file is missing: because of the whole controller, or it alone is unknown to this kernel. */
  #noFile(controller: string, error: TsError, directory: string): TsError {
    const parent = directory.slice(0, directory.lastIndexOf('/'));
    const controllers = this.#isV2
      ? this.#files.tryRead(`${directory}/cgroup.controllers`)?.split(' ')
      : undefined;
    const advice =
      controllers === undefined || controllers.includes(controller)
        ? 'leave the limit out, or use a kernel that has it'
        : `enable the controller: echo +${controller} > ${parent}/cgroup.subtree_control`;
    return new TsError('FailedPrecondition', error.message, {
      code: 'TS_CGROUP_NO_CONTROLLER',
      advice,
      cause: error,
      fields: { ...error.fields, controller },
    });
  }
}

/** A limit that this kind of cgroup cannot express: refused rather than ignored. */
export function noSuchLimit(property: string, version: 1 | 2, advice?: string): TsError {
  return new TsError(
    'FailedPrecondition',
    `linux.resources.${property}: cgroup v${version} has no such limit`,
    {
      code: 'TS_CGROUP_NO_LIMIT',
      fields: { property: `linux.resources.${property}` },
      ...(advice === undefined ? {} : { advice }),
    },
  );
}

/** A value that cannot be set, for a reason known before the kernel is asked. */
export function badLimit(property: string, problem: string): TsError {
  return new TsError('InvalidArgument', `linux.resources.${property}: ${problem}`, {
    code: 'TS_CGROUP_BAD_LIMIT',
    fields: { property: `linux.resources.${property}` },
  });
}

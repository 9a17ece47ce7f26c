/**
 * What the shim needs of an OCI runtime. Every call rejects with the runtime's own words
 * (`OCI runtime create failed: …`); kinds other than Unknown are given where the runtime's text
 * tells them.
 */
export interface RuntimeClient {
  /** Creates a container and returns its init process's pid. */
  create(id: string, options: RuntimeCreateOptions): Promise<number>;
  /** Lets a created container's process run. */
  start(id: string): Promise<void>;
  /** Starts another process in a container and returns its pid. */
  exec(id: string, options: RuntimeExecOptions): Promise<number>;
  /** Signals the init process, or with `all` every process. NotFound when it is gone. */
  kill(id: string, signal: number, options?: { all?: boolean }): Promise<void>;
  /** Removes a stopped container; with `force` kills a running one. NotFound when it is gone. */
  delete(id: string, options?: { force?: boolean }): Promise<void>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** Changes limits; `resources` is the JSON text of a LinuxResources object. */
  update(id: string, resources: string): Promise<void>;
  /** Pids of the container's processes as the shim sees them. */
  processes(id: string): Promise<number[]>;
  checkpoint(id: string, options: RuntimeCheckpointOptions): Promise<void>;
  /** The JSON text of the runtime's features; undefined when it has no such command. */
  features(): Promise<string | undefined>;
}

/** Descriptors that become 0, 1 and 2 of the new process; undefined is /dev/null. */
export interface ChildStdio {
  readonly stdin?: number | undefined;
  readonly stdout?: number | undefined;
  readonly stderr?: number | undefined;
}

/** A process's streams: three descriptors, or a socket to send a terminal's master to. */
export type RuntimeStdio = ChildStdio | { readonly consoleSocket: string };

export interface RuntimeCreateOptions {
  readonly bundle: string;
  /** File that receives the pid. */
  readonly pidFile: string;
  readonly stdio: RuntimeStdio;
  readonly noPivotRoot: boolean;
  readonly noNewKeyring: boolean;
  /** When it is aborted, the container is given up and what was made of it taken away. */
  readonly signal: AbortSignal;
  /** Restores from these images instead of starting afresh. */
  readonly restoreFrom?: { readonly imagePath: string; readonly workPath: string };
}

export interface RuntimeExecOptions {
  readonly bundle: string;
  readonly pidFile: string;
  readonly stdio: RuntimeStdio;
  /** The JSON text of an OCI process object. */
  readonly processSpec: string;
  /** When it is aborted, the process is given up and ended. */
  readonly signal: AbortSignal;
}

export interface RuntimeCheckpointOptions {
  readonly imagePath: string;
  readonly workPath: string;
  readonly parentPath: string;
  /** Lets the container run on. */
  readonly leaveRunning: boolean;
  readonly openTcp: boolean;
  readonly externalUnixSockets: boolean;
  readonly terminal: boolean;
  readonly fileLocks: boolean;
  readonly emptyNamespaces: readonly string[];
  readonly cgroupsMode: string;
}

/** What the daemon says on the command line of a shim (containerd pkg/shim/shim.go). */
export interface ShimFlags {
  readonly namespace: string;
  readonly id: string;
  /** The daemon's gRPC address. */
  readonly address: string;
  readonly bundle: string;
  /** Address of the socket to serve; empty for one from the group. */
  readonly socket: string;
  readonly isDebug: boolean;
}

/** Lets one asynchronous operation at a time run, in the order of the calls. */
export class Lock {
  #last: Promise<unknown> = Promise.resolve();

  async run<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(operation);
    this.#last = turn.catch(() => {}); // the caller sees the failure; the next one does not
    return turn;
  }
}

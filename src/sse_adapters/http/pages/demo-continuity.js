// The proof that a stream lost nothing: numbered messages go out, and the numbers that come in are counted.

// A number's priority follows from the number: a run mixes all three, and the receiver knows which to expect.
const PRIORITIES = ["normal", "high", "urgent"];

/**
 * The numbered messages of one stream, over all its cuts and resumes.
 *
 * Within one priority the server keeps the order in which it took messages. So a number may still be on its
 * way only as long as no later one of its priority has come: that it is missing can be told without a timer.
 */
export class Continuity {
  // Tells this stream's numbers from those of other streams and other tabs.
  #run = Math.random().toString(36).slice(2, 10);
  #last = 0;
  #timesReceived = new Map();
  #furthest = new Map(PRIORITIES.map((priority) => [priority, 0]));
  #outOfOrder = [];

  static priority(number) {
    return PRIORITIES[number % PRIORITIES.length];
  }

  /** The next `count` numbers with the data to send, expected from now on. */
  next(count) {
    return Array.from({ length: count }, () => {
      const number = ++this.#last;
      this.#timesReceived.set(number, 0);
      const priority = Continuity.priority(number);
      return { number, priority, data: { run: this.#run, number, priority } };
    });
  }

  /** Expect this number no longer: it was refused. It may have come all the same, if only the answer was lost. */
  withdraw(number) {
    if (this.#timesReceived.get(number) === 0) this.#timesReceived.delete(number);
  }

  /** Count a frame's data, if it is one of this stream's numbers. */
  receive(text) {
    const data = JSON.parse(text);
    if (data?.run !== this.#run || !this.#timesReceived.has(data.number)) return;
    const { number } = data;
    const priority = Continuity.priority(number);
    const times = this.#timesReceived.get(number) + 1;
    this.#timesReceived.set(number, times);
    if (times === 1 && number < this.#furthest.get(priority)) this.#outOfOrder.push(number);
    this.#furthest.set(priority, Math.max(number, this.#furthest.get(priority)));
  }

  /**
   * @param {boolean} isCut whether a resume must come first
   * @returns {{verdict: "idle"|"waiting"|"ok"|"bad", text: string}}
   */
  judge(isCut) {
    const numbers = [...this.#timesReceived.keys()];
    const received = numbers.filter((number) => this.#timesReceived.get(number) > 0);
    const twice = numbers.filter((number) => this.#timesReceived.get(number) > 1);
    const absent = numbers.filter((number) => this.#timesReceived.get(number) === 0);
    const missing = absent.filter((number) => number < this.#furthest.get(Continuity.priority(number)));
    if (numbers.length === 0) return { verdict: "idle", text: "No numbered messages sent yet." };

    const score = `${received.length} of ${numbers.length} received`;
    const faults = [
      ["missing", missing],
      ["twice", twice],
      ["out of order", this.#outOfOrder],
    ]
      .filter(([, list]) => list.length > 0)
      .map(([fault, list]) => `${fault}: ${list.join(", ")}`);
    if (faults.length > 0) return { verdict: "bad", text: `${score}; ${faults.join("; ")}` };
    if (absent.length === 0) {
      return { verdict: "ok", text: `${score}, none missing, none twice, each priority in order` };
    }
    const rest = isCut
      ? `${absent.length} sent while cut: resume to get them`
      : `waiting for ${absent.length}`;
    return { verdict: "waiting", text: `${score}, ${rest}` };
  }
}

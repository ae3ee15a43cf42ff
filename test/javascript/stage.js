// A stage for the client: its WebSockets are played by the test, and time passes when the test says so.

import { Client } from "../../src/http/web/skein.js";

export const hello = (more = {}) => ({
  type: "welcome",
  version: 1,
  connection: "1",
  ping_ms: 0,
  max_message_bytes: 65536,
  ...more,
});

/** Lets everything run that is ready. */
export const settle = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

export class Stage {
  sockets = [];
  states = [];
  #now = 0;
  #timers = new Map();
  #last = 0;

  constructor(options = {}) {
    const stage = this;
    class PlayedSocket {
      sent = [];
      looked = 0;
      closed = null;
      constructor(url, protocols) {
        if (!/^wss?:\/\//.test(url)) throw new SyntaxError("not a WebSocket's URL");
        this.url = url;
        this.protocols = protocols ?? [];
        stage.sockets.push(this);
      }
      send(text) {
        if (this.closed) throw new Error("closed");
        this.sent.push(JSON.parse(text));
      }
      close(code, reason) {
        this.closed = { code, reason };
      }
    }
    this.client = new Client(options.url ?? "ws://test/ws", {
      WebSocket: PlayedSocket,
      random: () => 1,
      now: () => this.#now,
      setTimeout: (call, ms) => {
        this.#timers.set(++this.#last, { at: this.#now + ms, call });
        return this.#last;
      },
      clearTimeout: (timer) => this.#timers.delete(timer),
      ...options,
    });
    this.client.on("state", ({ state, reason }) => this.states.push(reason ? `${state}: ${reason}` : state));
  }

  get socket() {
    return this.sockets.at(-1);
  }
  get timers() {
    return this.#timers.size;
  }

  async advance(ms) {
    const until = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, t]) => t.at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].call();
    }
    this.#now = until;
    await settle();
  }

  /** Time passes while no timer runs; what is due by then runs at the end. */
  async sleep(ms) {
    this.#now += ms;
    const due = [...this.#timers].filter(([, t]) => t.at <= this.#now).sort(([a, x], [b, y]) => x.at - y.at || a - b);
    for (const [timer, { call }] of due) if (this.#timers.delete(timer)) call();
    await settle();
  }

  async welcome(more) {
    await settle();
    this.socket.onopen?.({});
    await this.says(hello(more));
  }
  async says(...messages) {
    for (const each of messages)
      this.socket.onmessage?.({ data: typeof each === "string" ? each : JSON.stringify(each) });
    await settle();
  }
  async goes(code = 1006, reason = "") {
    this.socket.onclose?.({ code, reason });
    await settle();
  }

  /** What the client has said on this connection since the last look. */
  heard() {
    const some = this.socket.sent.slice(this.socket.looked);
    this.socket.looked = this.socket.sent.length;
    return some;
  }
  /** Answers the one request that was heard. */
  async answers(answer) {
    const asked = this.heard();
    if (asked.length !== 1) throw new Error(`expected one request, heard ${JSON.stringify(asked)}`);
    await this.says({ id: asked[0].id, ...answer });
    return asked[0];
  }
  /** A subscription that the server has confirmed. */
  async follows(channel, position = {}, options = {}) {
    const made = this.client.subscribe(channel, options);
    await this.answers({ type: "subscribed", channel, ...position });
    return made;
  }
}

/** Takes what an iterator has, without waiting for more. */
export const taker = (iterable) => {
  const iterator = iterable[Symbol.asyncIterator]();
  let next = null;
  const got = [];
  let end = null;
  const pull = () => {
    next = iterator.next().then(
      ({ value, done }) => {
        if (done) return (end = "done");
        got.push(value);
        pull();
      },
      (error) => (end = error.code ?? error),
    );
  };
  return {
    iterator,
    async taken() {
      if (!next) pull();
      await settle();
      return got.splice(0);
    },
    get end() {
      return end;
    },
  };
};

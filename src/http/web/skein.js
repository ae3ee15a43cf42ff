// The client of Skein's JSON protocol, for browsers and for Node. It comes back after every end, subscribes
// again, recovers what was published meanwhile, acknowledges, and keeps its token fresh.
//
//   import { Client, Gap } from "/skein.js";
//   const client = new Client("wss://example.org/ws");
//   for await (const item of client.subscribe("orders.alice")) {
//     if (item instanceof Gap) await loadEverythingAgain();
//     else handle(item);
//   }

const FIRST_FINAL_CODE = 4500; // a close code from here on says: do not come back
const UNAUTHORIZED = 4001;
const PROTOCOL = "skein.v1";
const TOKEN_PREFIX = "skein.jwt.";
const REMEMBERED_IDS = 4096;
const SHORTEST_TOKEN_LIFE = 1000; // milliseconds
const LONGEST_TIMER = 2 ** 31 - 1; // what is longer would ring at once

const DEFAULTS = {
  token: undefined,
  tokenPlace: "subprotocol",
  protocols: undefined,
  minPause: 200,
  maxPause: 20_000,
  steadyAfter: 10_000,
  connectTimeout: 10_000,
  requestTimeout: 10_000,
  bufferSize: 4096,
  acknowledge: true,
  connect: true,
  WebSocket: undefined,
  random: Math.random,
  now: () => performance.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** What a request fails with: what the server says, or `timed_out`, `connection_lost`, `closed`. */
export class SkeinError extends Error {
  constructor(code, message, details = {}) {
    super(message || code);
    this.name = "SkeinError";
    this.code = code;
    this.field = details.field;
    this.retryAfterMs = details.retry_after_ms;
  }
}

/** Stands where publications are missing: load the state from where it is kept; later items follow it. */
export class Gap {
  constructor(channel, position) {
    this.channel = channel;
    this.epoch = position?.epoch;
    this.offset = position?.offset;
  }
}

// Listeners by name. One that throws is reported and harms nobody.
class Emitter {
  #listeners = new Map();

  /** Returns a function that ends it. */
  on(name, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener is a function");
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all);
    all.add(listener);
    return () => all.delete(listener);
  }

  _hears(name) {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  // What the listeners return, those that threw left out; `whole` says whether none did.
  _emit(name, detail) {
    const results = [];
    let whole = true;
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        results.push(listener(detail));
      } catch (error) {
        whole = false;
        console.error(error);
      }
    }
    return { results, whole };
  }
}

// What has come and was not taken. One reader at a time.
class Queue {
  #items = [];
  #waiting = null;
  #ended = false;
  #failure = null;

  get size() {
    return this.#items.length;
  }
  get items() {
    return this.#items;
  }

  push(item) {
    if (this.#ended) return;
    if (this.#waiting) return this.#answer({ value: item, done: false });
    this.#items.push(item);
  }

  end(failure = null) {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    if (!this.#waiting) return;
    if (failure) this.#refuse();
    else this.#answer({ value: undefined, done: true });
  }

  next() {
    if (this.#items.length) return Promise.resolve({ value: this.#items.shift(), done: false });
    if (this.#failure) {
      const failure = this.#failure;
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    if (this.#waiting) return Promise.reject(new SkeinError("busy", "one reader at a time"));
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  #answer(what) {
    const { resolve } = this.#waiting;
    this.#waiting = null;
    resolve(what);
  }
  #refuse() {
    const { reject } = this.#waiting;
    const failure = this.#failure;
    this.#waiting = null;
    this.#failure = null;
    reject(failure);
  }
}

const anyNumber = () => globalThis.crypto?.getRandomValues(new Uint32Array(1))[0] ?? Math.floor(Math.random() * 2 ** 32);

const positionOf = (message) =>
  typeof message.epoch === "string" && Number.isSafeInteger(message.offset)
    ? { epoch: message.epoch, offset: message.offset }
    : undefined;

const matches = (pattern, channel) => {
  const wanted = pattern.split(".");
  const given = channel.split(".");
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === ">") return given.length > i;
    if (i >= given.length || (wanted[i] !== "*" && wanted[i] !== given[i])) return false;
  }
  return wanted.length === given.length;
};

/**
 * A subscription: an async iterable of publications and gaps. With a listener for `message` they go there
 * instead. Events: `message`, `gap`, `subscribed` (the server's answer), `ended` (a SkeinError, or null).
 */
export class Subscription extends Emitter {
  #feed;
  #bufferSize;
  #queue = new Queue();
  #ended = false;

  constructor(feed, channel, position, bufferSize) {
    super();
    this.#feed = feed;
    this.#bufferSize = bufferSize;
    this.channel = channel;
    /** Where the last item that was taken stands: keep it, and begin there next time (`recover`). */
    this.position = position;
  }

  /** Whether the server has confirmed it on the present connection. */
  get live() {
    return !this.#ended && this.#feed.live;
  }

  unsubscribe() {
    if (this.#ended) return;
    this._end(null);
    this.#feed.leave(this);
  }

  [Symbol.asyncIterator]() {
    return {
      next: async () => {
        const got = await this.#queue.next();
        if (!got.done) this.#taken(got.value);
        return got;
      },
      return: () => {
        this.unsubscribe();
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }

  _give(item) {
    if (this.#ended) return;
    if (item instanceof Gap) this._emit("gap", item);
    if (this._hears("message")) {
      this.#taken(item);
      if (!(item instanceof Gap)) this._emit("message", item);
      return;
    }
    const items = this.#queue.items;
    const gapInFront = items[0] instanceof Gap;
    if (items.length - (gapInFront ? 1 : 0) >= this.#bufferSize) {
      // The oldest makes room, and a gap says so in its place.
      const oldest = gapInFront ? 1 : 0;
      const position = items[oldest] instanceof Gap ? items[oldest] : positionOf(items[oldest]);
      items[oldest] = new Gap(this.channel, position);
      if (gapInFront) items.shift();
      else this._emit("gap", items[0]);
    }
    this.#queue.push(item);
  }

  #taken(item) {
    this.position = positionOf(item) ?? this.position;
  }

  _end(failure) {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue.end(failure);
    this._emit("ended", failure);
  }
}

// What the server is subscribed to, for one subscription or several.
class Feed {
  live = false;
  asked = null; // the id of the request under way
  members = new Set();
  #client;
  #lived = false;
  #again = null;

  constructor(client, channel, options) {
    this.#client = client;
    this.channel = channel;
    this.pattern = /[*>]/.test(channel);
    this.position = options.recover;
    this.info = options.info;
  }

  ask() {
    const request = { type: "subscribe", channel: this.channel };
    if (this.position && !this.pattern) request.recover = this.position;
    if (this.info !== undefined) request.info = this.info;
    this.asked = this.#client._tell(request);
  }

  answered(answer) {
    this.asked = null;
    if (answer.type === "subscribed") return this.#subscribed(answer);
    if (answer.retry_after_ms > 0) {
      this.#again = this.#client._later(answer.retry_after_ms, () => this.#client.state === "connected" && this.ask());
      return;
    }
    this.end(new SkeinError(answer.code, answer.message, answer));
  }

  #subscribed(answer) {
    const now = positionOf(answer);
    const complete = answer.recovered === true;
    const missed = !complete && (this.#lived || this.position !== undefined);
    this.live = this.#lived = true;
    // What is recovered comes from where it was left.
    if (!complete && now) this.position = now;
    for (const each of [...this.members]) each._emit("subscribed", answer);
    if (missed) this.#give(new Gap(this.channel, this.position));
  }

  published(message) {
    if (!this.live) return; // of a subscription before this one
    const at = positionOf(message);
    if (at && !this.pattern) {
      if (this.position?.epoch === at.epoch && at.offset <= this.position.offset) return; // a repeat
      this.position = at;
    }
    this.#give(message);
  }

  #give(item) {
    for (const each of [...this.members]) each._give(item);
  }

  lost() {
    this.live = false;
    this.asked = null;
    this.#client._never(this.#again);
  }

  leave(member) {
    this.members.delete(member);
    if (this.members.size === 0) this.#client._dropFeed(this, true);
  }

  end(failure) {
    this.#client._dropFeed(this, false);
    this.lost();
    for (const each of [...this.members]) each._end(failure);
  }
}

/**
 * Events: `state` ({state, reason}), `message` (a message of the user's own), `error` (an error that answers no
 * request).
 */
export class Client extends Emitter {
  #options;
  #socket = null;
  #state = "waiting";
  #reason = "";
  #closed = false;
  #ready = false; // may speak: the token has been accepted
  #failures = 0;
  #welcomedAt = 0;
  #timers = {}; // by what they are for: retry, welcome, token, silence
  #heard = 0;
  #pingMs = 0;
  #lastId = 0;
  // Of this client alone: no publisher can guess what an answer looks like, and an answer that comes too late
  // is known for one.
  #idPrefix = `${anyNumber()}-${anyNumber()}-`;
  #requests = new Map();
  #acks = new Map();
  #feeds = new Map();
  #mail = new Queue();
  #seen = new Set();
  #untaken = new Set(); // ids of stored messages that were handed out or wait
  #online = null;

  constructor(url, options = {}) {
    super();
    this.url = url;
    this.#options = { ...DEFAULTS, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    if (!this.#options.WebSocket) throw new TypeError("there is no WebSocket here: give one as an option");
    if (!["subprotocol", "first-message"].includes(this.#options.tokenPlace))
      throw new TypeError('tokenPlace: "subprotocol" or "first-message"');
    this.#online = () => this.#state === "waiting" && this.reconnect();
    globalThis.addEventListener?.("online", this.#online);
    if (this.#options.connect) this.#connect();
  }

  /** `connecting`, `connected`, `waiting` for the time to try again, or `closed` for good. */
  get state() {
    return this.#state;
  }

  // ---- what it is for

  /** Follows a topic or a pattern; `recover` ({epoch, offset}) is what was seen last. */
  subscribe(channel, options = {}) {
    const known = this.#feeds.get(channel) ?? new Feed(this, channel, options);
    const made = new Subscription(known, channel, options.recover, options.bufferSize ?? this.#options.bufferSize);
    if (this.#closed) {
      made._end(null);
      return made;
    }
    known.members.add(made);
    if (!this.#feeds.has(channel)) {
      this.#feeds.set(channel, known);
      if (this.#state === "connected") known.ask();
    }
    return made;
  }

  /** Resolves with `{epoch, offset}` if the topic keeps a history, once the publication has been kept. */
  async publish(channel, data) {
    return positionOf(await this.request({ type: "publish", channel, data }));
  }

  /** The latest publications, or those after `since`, the oldest first. */
  history(channel, { limit, since } = {}) {
    return this.request({ type: "history", channel, limit, since });
  }

  presence(channel) {
    return this.request({ type: "presence", channel });
  }

  ping() {
    return this.request({ type: "ping" });
  }

  /** Any request; resolves with the answer. Waits for a connection if there is none. */
  request(fields) {
    if (this.#closed) return Promise.reject(new SkeinError("closed", "the client is closed"));
    const id = this.#nextId();
    let text;
    try {
      text = JSON.stringify({ ...fields, id }); // as it is now, and while there is somebody to tell that it is no JSON
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#pending(this.#requests, id, text);
  }

  /** Removes a stored message from the server; resolves when it is removed for good. */
  async ack(messageId) {
    if (this.#closed) throw new SkeinError("closed", "the client is closed");
    this.#untaken.delete(messageId);
    const asked = this.#acks.get(messageId);
    await (asked ? asked.answer : this.#pending(this.#acks, messageId, JSON.stringify({ type: "ack", id: messageId })));
  }

  /** Messages of the user's own. Each is acknowledged when the next one is asked for. */
  messages() {
    let last;
    const done = () => {
      if (last?.message_id !== undefined && this.#options.acknowledge) this.#acknowledge(last.message_id);
      last = undefined;
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: async () => {
        done();
        const got = await this.#mail.next();
        if (!got.done) last = got.value;
        return got;
      },
      return: async () => ({ value: undefined, done: true }),
    };
  }

  /** Tries again at once. */
  reconnect() {
    if (this.#closed) return;
    this.#abandon();
    this.#connect();
  }

  /** Closes for good: subscriptions end, requests fail. */
  close(code = 1000, reason = "") {
    this.#end(reason, code);
  }

  // ---- the connection

  async #connect() {
    this.#stop("retry");
    this.#setState("connecting", this.#reason);
    const attempt = (this.#socket = {}); // until there is a real one
    this.#start("welcome", this.#options.connectTimeout, () => this.#lost("the server did not welcome in time"));
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      if (this.#socket === attempt) this.#lost(`no token: ${error?.message ?? error}`);
      return;
    }
    if (this.#socket !== attempt || this.#closed) return;
    try {
      this.#open(token);
    } catch (error) {
      // A URL that is none, or a subprotocol that cannot be sent.
      this.#end(String(error?.message ?? error));
    }
  }

  #token() {
    const { token } = this.#options;
    return typeof token === "function" ? token() : token;
  }

  #open(token) {
    const { WebSocket, protocols, tokenPlace } = this.#options;
    const offered = [...(protocols ?? [])];
    if (token !== undefined && tokenPlace === "subprotocol") {
      if (!protocols) offered.push(PROTOCOL);
      offered.push(TOKEN_PREFIX + token);
    }
    const socket = offered.length ? new WebSocket(this.url, offered) : new WebSocket(this.url);
    this.#socket = socket;
    const mine = (call) => (event) => this.#socket === socket && call(event);
    socket.onopen = mine(() => {
      this.#heard = this.#options.now();
      if (token !== undefined && tokenPlace === "first-message") this.#send({ type: "auth", token });
    });
    socket.onmessage = mine((event) => this.#receive(event.data));
    socket.onclose = mine((event) => this.#ended(event.code, event.reason));
    socket.onerror = () => {}; // a close event follows
  }

  #ended(code, reason) {
    const why = `${code}${reason ? ` ${reason}` : ""}`;
    const final = code >= FIRST_FINAL_CODE || (code === UNAUTHORIZED && typeof this.#options.token !== "function");
    if (final) this.#end(why);
    else this.#lost(why);
  }

  // Lets go of the socket; what was asked on it is not known to have been done.
  #abandon(code, reason) {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    for (const name of Object.keys(this.#timers)) this.#stop(name);
    if (socket?.close) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      try {
        socket.close(code, reason);
      } catch {
        // It was never open.
      }
    }
    for (const feed of this.#feeds.values()) feed.lost();
    for (const all of [this.#requests, this.#acks]) {
      for (const request of [...all.values()])
        if (request.sent) request.fail(new SkeinError("connection_lost", "the connection ended before the answer"));
    }
  }

  #lost(reason) {
    const { now, steadyAfter, minPause, maxPause, random } = this.#options;
    if (this.#ready && now() - this.#welcomedAt >= steadyAfter) this.#failures = 0;
    this.#abandon();
    const longest = Math.min(maxPause, minPause * 2 ** Math.min(this.#failures++, 30));
    const pause = random() * longest;
    this.#start("retry", pause, () => this.#connect());
    this.#setState("waiting", reason, pause);
  }

  #end(reason, code) {
    if (this.#closed) return;
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.#online);
    const why = new SkeinError("closed", "the client is closed");
    for (const all of [this.#requests, this.#acks]) for (const request of [...all.values()]) request.fail(why);
    this.#abandon(code, code === undefined ? undefined : reason);
    for (const feed of [...this.#feeds.values()]) feed.end(null);
    this.#mail.end();
    this.#setState("closed", reason);
  }

  #setState(state, reason, pause) {
    this.#state = state;
    this.#reason = reason;
    this._emit("state", { state, reason, pause });
  }

  // ---- what the server says

  #receive(text) {
    this.#heard = this.#options.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message === null || typeof message !== "object" || Array.isArray(message)) return;
    if (this.#ready) this.#dispatch(message);
    else if (message.type === "welcome") this.#welcomed(message);
  }

  #welcomed(hello) {
    this.#ready = true;
    this.#welcomedAt = this.#options.now();
    this.#stop("welcome");
    this.#pingMs = hello.ping_ms > 0 ? hello.ping_ms : 0;
    this.#expectExpiry(hello);
    this.#listen();
    this.#setState("connected", "");
    if (!this.#ready) return; // a listener has closed it
    for (const feed of this.#feeds.values()) if (feed.asked === null) feed.ask();
    for (const all of [this.#requests, this.#acks]) for (const request of all.values()) request.send();
  }

  #dispatch(message) {
    const { type, id, channel } = message;
    // An acknowledgement's id is the message's; a publication may have such a field, too.
    const ofMessages = (type === "acked" || type === "error") && channel === undefined;
    const request = this.#requests.get(id) ?? (ofMessages ? this.#acks.get(id) : undefined);
    if (request) {
      if (type === "error") request.fail(new SkeinError(message.code, message.message, message));
      else request.done(message);
      return;
    }
    if (typeof id === "string") {
      for (const feed of this.#feeds.values()) if (feed.asked === id) return feed.answered(message);
      if (id.startsWith(this.#idPrefix)) return; // nobody waits for it any more
    }
    if (type === "unsubscribed") {
      if (message.code) this.#feeds.get(channel)?.end(new SkeinError(message.code, "the server ended the subscription"));
      return;
    }
    if (typeof channel === "string") {
      for (const feed of [...this.#feeds.values()])
        if (feed.channel === channel || (feed.pattern && matches(feed.channel, channel))) feed.published(message);
      return;
    }
    if (type === "error") this._emit("error", new SkeinError(message.code, message.message, message));
    else if (!["acked", "pong", "refreshed", "welcome"].includes(type) || message.message_id !== undefined) this.#letter(message);
  }

  #letter(message) {
    const id = message.message_id;
    if (id !== undefined && this.#seen.has(id)) {
      // It had been taken, but the server has not heard of it.
      if (this.#options.acknowledge && !this.#untaken.has(id)) this.#acknowledge(id);
      return;
    }
    const listens = this._hears("message");
    if (!listens && this.#mail.size >= this.#options.bufferSize) return; // a stored one comes again
    if (id !== undefined) this.#remember(id);
    if (!listens) return this.#mail.push(message);
    const { results, whole } = this._emit("message", message);
    if (id === undefined || !this.#options.acknowledge) return;
    // Once the listeners are done with it; if one fails, it comes again with the next connection.
    Promise.all(results).then(
      () => (whole ? this.#acknowledge(id) : this.#forget(id)),
      (error) => {
        console.error(error);
        this.#forget(id);
      },
    );
  }

  #remember(id) {
    this.#seen.add(id);
    this.#untaken.add(id);
    if (this.#seen.size > REMEMBERED_IDS) this.#forget(this.#seen.values().next().value);
  }
  #forget(id) {
    this.#seen.delete(id);
    this.#untaken.delete(id);
  }

  #acknowledge(id) {
    this.#untaken.delete(id);
    if (this.#ready) this.#send({ type: "ack", id }); // else it comes again, and then
  }

  // A browser neither sends pings nor sees them.
  #listen() {
    if (this.#pingMs === 0) return;
    this.#start("silence", this.#pingMs, () => {
      const quiet = this.#options.now() - this.#heard;
      if (quiet >= 2 * this.#pingMs) return this.#lost("nothing was heard of the server");
      if (quiet >= this.#pingMs) this.#send({ type: "ping", id: this.#nextId() });
      this.#listen();
    });
  }

  // ---- what it says to the server

  #send(fields) {
    this.#sendText(JSON.stringify(fields));
  }
  #sendText(text) {
    try {
      this.#socket.send(text);
    } catch {
      // It is closing; its end will be told.
    }
  }

  #nextId() {
    return `${this.#idPrefix}${++this.#lastId}`;
  }

  #pending(among, id, text) {
    const answer = new Promise((resolve, reject) => {
      const over = (call) => (what) => {
        if (among.get(id) === request) among.delete(id);
        this._never(timer);
        call(what);
      };
      const request = {
        sent: false,
        send: () => {
          if (request.sent) return;
          request.sent = true;
          this.#sendText(text);
        },
        done: over(resolve),
        fail: over(reject),
      };
      const timer = this._later(this.#options.requestTimeout, () =>
        request.fail(new SkeinError("timed_out", `no answer in ${this.#options.requestTimeout} ms`)),
      );
      among.set(id, request);
    });
    const request = among.get(id);
    request.answer = answer;
    if (this.#ready) request.send();
    return answer;
  }

  // ---- its token

  #expectExpiry({ expires_in_ms: left }) {
    this.#stop("token");
    if (typeof this.#options.token !== "function" || !Number.isFinite(left)) return;
    const life = Math.max(left, SHORTEST_TOKEN_LIFE);
    this.#start("token", life * 0.8, () => this.#refresh());
  }

  async #refresh() {
    const socket = this.#socket;
    const still = () => this.#socket === socket && this.#ready;
    try {
      const token = await this.#token();
      if (!still()) return;
      const answer = await this.request({ type: "refresh", token });
      if (still()) this.#expectExpiry(answer);
    } catch {
      // The connection ends when the token does, and the next one asks for a token, too.
      if (still()) this.#start("token", SHORTEST_TOKEN_LIFE, () => this.#refresh());
    }
  }

  // ---- for feeds

  _tell(request) {
    const id = this.#nextId();
    this.#send({ ...request, id });
    return id;
  }

  _dropFeed(feed, tell) {
    if (this.#feeds.get(feed.channel) !== feed) return;
    this.#feeds.delete(feed.channel);
    feed.lost();
    if (tell && this.#state === "connected") this._tell({ type: "unsubscribe", channel: feed.channel });
  }

  _later(ms, call) {
    return this.#options.setTimeout(call, Math.min(ms, LONGEST_TIMER));
  }
  _never(timer) {
    if (timer !== null && timer !== undefined) this.#options.clearTimeout(timer);
  }

  #start(name, ms, call) {
    this.#stop(name);
    this.#timers[name] = this._later(ms, call);
  }
  #stop(name) {
    this._never(this.#timers[name]);
    delete this.#timers[name];
  }
}

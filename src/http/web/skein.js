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
const REMEMBERED_TOPICS = 4096; // of a pattern
const SHORTEST_TOKEN_LIFE = 1000; // milliseconds
const LONGEST_REFRESH_PAUSE = 20_000;
const LATE = 1000; // milliseconds, for a timer; and what is then given to what has arrived
const LONGEST_TIMER = 2 ** 31 - 1; // what is longer would ring at once
// Subscriptions that are asked for and not answered. A server that limits a client's rate refuses what comes past a
// burst, and ends a connection that goes on: after the first so many, fewer are under way, and more only by and by.
const MOST_UNDER_WAY = 16;
const ANSWERED_FOR_MORE = 32;
const LONGEST_GAP = 20_000; // milliseconds, between what is said to a server that was in trouble
const TROUBLE_FORGOTTEN = 60_000;
const MOST_ACKS = 100; // in one message
// What may be otherwise the next time. Everything else ends a subscription.
const PASSING = ["internal_error", "keys_unavailable", "rate_limited", "store_full", "store_unavailable"];

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
    this.channel = details.channel;
    this.retryAfterMs = details.retry_after_ms;
  }
}

/**
 * Stands where publications are missing: load the state from where it is kept; later items follow it. With `missing` the
 * server left out so many, up to `offset`, because this client took them too slowly (`drop`, `conflate`).
 */
export class Gap {
  constructor(channel, position, missing) {
    this.channel = channel;
    this.epoch = position?.epoch;
    this.offset = position?.offset;
    this.missing = missing;
  }
}

/** Who has come to a topic and who has gone; no publication is one. With too many members there is only the number. */
export class PresenceChange {
  type = "presence_change";
  constructor({ channel, count, joined, left }) {
    Object.assign(this, { channel, count, joined, left });
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
  remove(unwanted) {
    this.#items = this.#items.filter((item) => !unwanted(item));
  }
  /** What came first; undefined: nothing is there. */
  take() {
    return this.#items.shift();
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

// When something may be said: as fast as the server says that it takes it, at once if it says nothing. If it says
// "too fast" all the same, nothing is said for as long as it asked for, and one thing at a time after that, as far apart
// as its refusals show.
class Pace {
  #random;
  #each = 0;
  #spare = 0;
  #fullAt = -Infinity; // when all that may be said at once may be said at once again
  #gap = 0;
  #opens = -Infinity;
  #toldAt = -Infinity;
  #saidSince = false;
  /** Whether there ever was a refusal. */
  wary = false;

  constructor(random) {
    this.#random = random;
  }

  get slow() {
    return this.#gap > 0;
  }
  /** What a new connection takes: so many messages a second, and so many at once. 0: as many as can be. */
  allow(perSecond, burst) {
    this.#each = perSecond > 0 ? (1000 / perSecond) * (17 / 16) : 0; // what left in time may arrive closer together
    this.#spare = this.#each * Math.max(0, burst - 3); // a token may have taken one
    this.#fullAt = -Infinity;
  }
  /** How long nothing may be said from now on. */
  wait(now) {
    if (this.#gap > 0 && now >= this.#opens && now - this.#toldAt >= TROUBLE_FORGOTTEN) this.#gap = 0;
    return Math.max(0, this.#opens - now, this.#fullAt - this.#spare - now);
  }
  said(now) {
    this.#saidSince = true;
    if (this.#each > 0) this.#fullAt = Math.max(this.#fullAt, now) + this.#each;
    if (this.#gap > 0) this.#opens = now + this.#gap * (1 + this.#random() / 8);
  }
  refused(retryAfter, now) {
    // What is left of the time for one message: that may be all of it, or hardly any. When one is refused that came
    // in its time, its gap and what is left make the whole. What had been said before is no news.
    this.wary = true;
    const gap = this.#gap > 0 && this.#saidSince ? this.#gap + retryAfter : Math.max(this.#gap, 2 * retryAfter);
    this.#gap = Math.min(gap, LONGEST_GAP);
    this.#opens = Math.max(this.#opens, now + retryAfter * (1 + this.#random() / 2));
    this.#toldAt = now;
    this.#saidSince = false;
  }
}

const anyNumber = () => globalThis.crypto?.getRandomValues(new Uint32Array(1))[0] ?? Math.floor(Math.random() * 2 ** 32);

const positionOf = (message) =>
  typeof message.epoch === "string" && Number.isSafeInteger(message.offset)
    ? { epoch: message.epoch, offset: message.offset }
    : undefined;

const requireRoom = (bufferSize) => {
  if (!(bufferSize >= 1)) throw new TypeError("bufferSize: 1 or more");
};

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
 * A subscription: an async iterable of publications, gaps and changes of presence. With a listener for `message`
 * the publications go there instead. Events: `message`, `gap`, `presence`, `subscribed` (the server's answer), `ended`
 * (a SkeinError, or null).
 */
export class Subscription extends Emitter {
  #feed;
  #bufferSize;
  #queue = new Queue();
  #told = new WeakSet(); // gaps and the like that somebody heard of when they came
  #ended = false;

  constructor(feed, channel, position, bufferSize) {
    super();
    this.#feed = feed;
    this.#bufferSize = bufferSize;
    this.channel = channel;
    /** Where the last item that was taken stands, or where it began: keep it, and begin there next time (`recover`). */
    this.position = position;
  }

  /** Whether the server has confirmed it on the present connection. */
  get live() {
    return !this.#ended && this.#feed.live;
  }

  /** What has come before the first listener for `message` was there goes to it, in a moment. */
  on(name, listener) {
    const stop = super.on(name, listener);
    if (name === "message") queueMicrotask(() => this.#drain());
    return stop;
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

  // Nothing is missing up to here.
  _begins(position) {
    if (this.#queue.size === 0) this.position ??= position;
  }

  _give(item) {
    if (this.#ended) return;
    this.#drain();
    if (this._hears("message")) return this.#hand(item);
    this.#tell(item);
    const items = this.#queue.items;
    const gapInFront = items[0] instanceof Gap;
    if (items.length - (gapInFront ? 1 : 0) >= this.#bufferSize) {
      // The oldest makes room, and a gap says so in its place.
      const oldest = gapInFront ? 1 : 0;
      const position = items[oldest] instanceof Gap ? items[oldest] : positionOf(items[oldest]);
      items[oldest] = new Gap(this.channel, position);
      if (gapInFront) items.shift();
      else this.#tell(items[0]);
    }
    this.#queue.push(item);
  }

  #drain() {
    while (this.#queue.size && this._hears("message")) this.#hand(this.#queue.take());
  }

  // To the listeners.
  #hand(item) {
    this.#taken(item);
    if (!this.#told.has(item) && !this.#tell(item)) this._emit("message", item);
  }

  // Whether this is of a kind with an event of its own.
  #tell(item) {
    const event = item instanceof Gap ? "gap" : item instanceof PresenceChange ? "presence" : null;
    if (event === null) return false;
    if (this._hears(event)) this.#told.add(item);
    this._emit(event, item);
    return true;
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
  members = new Set();
  failures = 0;
  #client;
  #lived = false;
  #again = null;
  #lasts = new Map(); // of a pattern: what was seen last of each topic, the latest of them
  #confirmed = 0; // times

  constructor(client, channel, options) {
    this.#client = client;
    this.channel = channel;
    this.pattern = /[*>]/.test(channel);
    this.position = options.recover;
    this.info = options.info;
  }

  request() {
    const request = { type: "subscribe", channel: this.channel };
    if (this.position && !this.pattern) request.recover = this.position;
    if (this.info !== undefined) request.info = this.info;
    return request;
  }

  answered(answer) {
    if (this.live) return; // of a request that was repeated
    if (answer.type === "subscribed") return this.#subscribed(answer);
    this.refused(new SkeinError(answer.code, answer.message, { ...answer, channel: this.channel }));
  }

  /** The server does not want it, or not now. */
  refused(error) {
    this.live = false;
    if (!PASSING.includes(error.code) && !(error.retryAfterMs > 0)) return this.end(error);
    this.#client._trouble(error);
    if (!this.#client._follows(this)) return; // a listener has ended it
    this.#client._never(this.#again);
    this.#again = this.#client._againLater(this.failures++, error, () => this.#client._want(this));
  }

  #subscribed(answer) {
    const now = positionOf(answer);
    const complete = answer.recovered === true;
    const missed = !complete && (this.#lived || this.position !== undefined);
    this.live = this.#lived = true;
    this.#confirmed++;
    this.failures = 0;
    this.#client._never(this.#again);
    // What is recovered comes from where it was left.
    if (!complete && now) this.position = now;
    if (!missed && !this.pattern) for (const each of this.members) each._begins(now);
    for (const each of [...this.members]) each._emit("subscribed", answer);
    if (missed) this.#give(new Gap(this.channel, this.position));
  }

  published(message) {
    if (!this.live) return; // of a subscription before this one
    const at = positionOf(message);
    if (at) {
      const step = this.#moveTo(message.channel, at);
      if (step <= 0) return; // what is recovered for others may have been here before
      if (step > 1) this.#give(new Gap(message.channel, { epoch: at.epoch, offset: at.offset - 1 }, step - 1));
    }
    this.#give(message);
  }

  // How far this is beyond what was seen of the topic. 1 where nothing can be missing that was not told of.
  #moveTo(topic, at) {
    const last = this.pattern ? this.#lasts.get(topic) : this.position;
    const step = last?.epoch === at.epoch ? at.offset - last.offset : 1;
    if (step <= 0) return step;
    if (!this.pattern) {
      this.position = at;
      return step;
    }
    this.#lasts.delete(topic);
    this.#lasts.set(topic, { ...at, confirmed: this.#confirmed });
    if (this.#lasts.size > REMEMBERED_TOPICS) this.#lasts.delete(this.#lasts.keys().next().value);
    return last?.confirmed === this.#confirmed ? step : 1;
  }

  #give(item) {
    for (const each of [...this.members]) each._give(item);
  }

  lost() {
    this.live = false;
    this.#client._never(this.#again);
  }

  // The server sends nothing again for one that comes later.
  joined(member, recover) {
    const { position } = this;
    if (recover === undefined) {
      if (!this.pattern) member._begins(position);
    } else if (recover.epoch !== position?.epoch || recover.offset !== position.offset) {
      member._give(new Gap(this.channel, position));
    }
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

// The end of a server's subscription. Until it is confirmed the channel is not asked for again: that would be
// answered with a subscription which this ends.
class Farewell {
  failures = 0;
  #client;
  #again = null;

  constructor(client, channel) {
    this.#client = client;
    this.channel = channel;
  }

  request() {
    return { type: "unsubscribe", channel: this.channel };
  }
  answered(answer) {
    if (answer.type !== "error" || !PASSING.includes(answer.code)) return this.#client._gone(this);
    const error = new SkeinError(answer.code, answer.message, answer);
    this.#again = this.#client._againLater(this.failures++, error, () => this.#client._want(this));
  }
  lost() {
    this.#client._never(this.#again);
  }
}

/**
 * Events: `state` ({state, reason}), `message` (a message of the user's own), `error` (an error that answers no
 * request; with a `channel`: why a subscription has not begun yet, and is asked for again).
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
  #timers = {}; // by what they are for: retry, welcome, token, silence, pace, acks
  #heard = 0;
  #pingMs = 0;
  #pinged = false; // and nothing was heard since
  #lastId = 0;
  // Of this client alone: no publisher can guess what an answer looks like, and an answer that comes too late
  // is known for one.
  #idPrefix = `${anyNumber()}-${anyNumber()}-`;
  #requests = new Map();
  #acks = new Map();
  #unsent = []; // requests
  #feeds = new Map();
  #farewells = new Map(); // by channel
  #wanted = new Set(); // feeds and farewells that the server has yet to be asked
  #underWay = new Map(); // those that have been asked, with their timers
  #doubtful = new Set(); // of those: what was refused may have been theirs
  #asked = new Map(); // what may still be answered, by the request's id
  #askedSoFar = 0; // on this connection
  #answeredSoFar = 0;
  #turn = 0;
  #toAcknowledge = [];
  #refused = []; // acknowledgements, until it is time to try again
  #pace;
  #mail = new Queue();
  #done = new Set(); // ids of stored messages that were acknowledged, the latest of them
  #leftSome = false; // stored messages, on this connection: what is behind them must come after them
  #toldFull = false;
  #inHand = new Map(); // ids of those that listeners are at: whether it has come again
  #failedRefreshes = 0;
  #online = null;
  /** Messages of the user's own that there was no room for (`bufferSize`); stored ones come again. */
  dropped = 0;

  constructor(url, options = {}) {
    super();
    this.url = url;
    this.#options = { ...DEFAULTS, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    requireRoom(this.#options.bufferSize);
    this.#pace = new Pace(this.#options.random);
    if (!this.#options.WebSocket) throw new TypeError("there is no WebSocket here: give one as an option");
    if (!["subprotocol", "first-message"].includes(this.#options.tokenPlace))
      throw new TypeError('tokenPlace: "subprotocol" or "first-message"');
    this.#online = () => this.#state === "waiting" && this.reconnect();
    globalThis.addEventListener?.("online", this.#online);
    if (this.#options.connect) this.#connect();
  }

  /** Messages that came before the first listener for them was there go to it, in a moment. */
  on(name, listener) {
    const stop = super.on(name, listener);
    if (name === "message") queueMicrotask(() => this.#drainMail());
    return stop;
  }

  /** `connecting`, `connected`, `waiting` for the time to try again, or `closed` for good. */
  get state() {
    return this.#state;
  }

  // ---- what it is for

  /**
   * Follows a topic or a pattern; `recover` ({epoch, offset}) is what was seen last. Several to one channel share the
   * server's subscription: the first one's `info` counts, and a later one begins with a Gap if it was elsewhere.
   */
  subscribe(channel, options = {}) {
    const bufferSize = options.bufferSize ?? this.#options.bufferSize;
    requireRoom(bufferSize);
    const known = this.#feeds.get(channel) ?? new Feed(this, channel, options);
    const made = new Subscription(known, channel, options.recover, bufferSize);
    if (this.#closed) {
      made._end(null);
      return made;
    }
    known.members.add(made);
    if (!this.#feeds.has(channel)) {
      this.#feeds.set(channel, known);
      if (this.#ready) this._want(known);
    } else {
      known.joined(made, options.recover);
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
    return this.#pending(this.#requests, id, text, fields.type === "refresh");
  }

  /** Removes a stored message from the server; resolves when it is removed for good. */
  async ack(messageId) {
    if (this.#closed) throw new SkeinError("closed", "the client is closed");
    const asked = this.#acks.get(messageId);
    await (asked ? asked.answer : this.#pending(this.#acks, messageId, JSON.stringify({ type: "ack", id: messageId })));
    this.#isDone(messageId);
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
        if (this.#mail.size === 0) this.#fetchLeft();
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
    for (const farewell of this.#farewells.values()) farewell.lost();
    for (const timer of this.#underWay.values()) this._never(timer);
    for (const all of [this.#farewells, this.#wanted, this.#underWay, this.#doubtful, this.#asked]) all.clear();
    this.#toAcknowledge = []; // they come again
    this.#refused = [];
    this.#leftSome = false;
    this.#failedRefreshes = 0;
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
    this.#pinged = false;
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
    // That of the user is shared with others, who cannot be seen: no more than all of it.
    const rates = [hello.rate, hello.user_rate].filter((each) => each?.messages_per_s > 0);
    const slowest = rates.sort((a, b) => a.messages_per_s - b.messages_per_s)[0];
    this.#pace.allow(slowest?.messages_per_s ?? 0, slowest?.burst ?? 0);
    this.#expectExpiry(hello);
    this.#listen();
    this.#askedSoFar = this.#answeredSoFar = 0;
    for (const feed of this.#feeds.values()) this.#wanted.add(feed);
    this.#setState("connected", "");
    this.#sayOn();
  }

  #dispatch(message) {
    const { type, id, channel } = message;
    // An acknowledgement's id is the message's; a publication may have such a field, too.
    const ofMessages = (type === "acked" || type === "error") && channel === undefined;
    const request = this.#requests.get(id) ?? (ofMessages ? this.#acks.get(id) : undefined);
    if (type === "error" && channel === undefined) this.#heed(message);
    if (request) {
      if (type === "error") request.fail(new SkeinError(message.code, message.message, message));
      else request.done(message);
      return;
    }
    if (typeof id === "string") {
      const asked = this.#asked.get(id);
      if (asked) return this.#answers(asked, message);
      if (id.startsWith(this.#idPrefix)) return; // nobody waits for it any more
    }
    if (type === "unsubscribed") {
      if (!message.code) return;
      return this.#feeds.get(channel)?.refused(new SkeinError(message.code, "the server ended the subscription", { channel }));
    }
    if (typeof channel === "string") {
      const item = type === "presence_change" ? new PresenceChange(message) : message;
      for (const feed of [...this.#feeds.values()])
        if (feed.channel === channel || (feed.pattern && matches(feed.channel, channel))) feed.published(item);
      return;
    }
    if (type === "error") {
      if (ofMessages && PASSING.includes(message.code)) this.#acknowledgeAgain(id, message);
      this._emit("error", new SkeinError(message.code, message.message, message));
    } else if (!["acked", "pong", "refreshed", "welcome"].includes(type) || message.message_id !== undefined) this.#letter(message);
  }

  #letter(message) {
    const id = message.message_id;
    if (id !== undefined) {
      // It had been done with, but the server has not heard of it.
      if (this.#done.has(id)) return this.#acknowledge(id);
      // One that still waits goes behind what came again before it: they are in order.
      this.#mail.remove((each) => each.message_id === id);
      if (this.#inHand.has(id)) return void this.#inHand.set(id, message);
    }
    this.#drainMail();
    const listens = this._hears("message");
    if (id !== undefined && !this.#ready) return; // what was left before it has to come before it
    if (this.#mail.size >= this.#options.bufferSize || (id !== undefined && this.#leftSome)) return this.#drop(id);
    if (listens) this.#handLetter(message);
    else this.#mail.push(message);
  }

  #drainMail() {
    while (this.#mail.size && this._hears("message")) this.#handLetter(this.#mail.take());
    if (this._hears("message")) this.#fetchLeft();
  }

  #drop(id) {
    this.dropped++;
    if (id !== undefined) this.#leftSome = true;
    if (this.#toldFull) return;
    this.#toldFull = true;
    this._emit("error", new SkeinError("buffer_full", "messages are not taken in time"));
  }

  // What was left on the server comes with a connection.
  #fetchLeft() {
    this.#toldFull = false;
    if (this.#ready && this.#leftSome) this.#lost("messages were left on the server");
  }

  // To the listeners.
  #handLetter(message) {
    const id = message.message_id;
    const { results, whole } = this._emit("message", message);
    if (id === undefined || !this.#options.acknowledge) return;
    // Once the listeners are done with it; if one fails, it comes again with the next connection, or has already.
    const failed = () => {
      const again = this.#inHand.get(id);
      this.#inHand.delete(id);
      if (again) this.#letter(again);
    };
    this.#inHand.set(id, null);
    Promise.all(results).then(
      () => (whole ? this.#acknowledge(id) : failed()),
      (error) => {
        console.error(error);
        failed();
      },
    );
  }

  #isDone(id) {
    this.#inHand.delete(id);
    this.#mail.remove((each) => each.message_id === id);
    this.#done.add(id);
    if (this.#done.size > REMEMBERED_IDS) this.#done.delete(this.#done.values().next().value);
  }

  #acknowledge(id) {
    this.#isDone(id);
    if (!this.#ready) return; // it comes again, and then
    this.#toAcknowledge.push(id);
    this.#sayOn();
  }

  #acknowledgeAgain(id, answer) {
    const ids = (Array.isArray(id) ? id : [id]).filter(Number.isSafeInteger);
    if (!ids.length) return;
    this.#refused.push(...ids);
    this.#stop("acks");
    this.#timers.acks = this._againLater(3, new SkeinError(answer.code, "", answer), () => {
      this.#toAcknowledge.push(...this.#refused.splice(0));
      this.#sayOn();
    });
  }

  // A browser neither sends pings nor sees them. It also lets the timers of a page that nobody looks at run late, and
  // then what has arrived meanwhile may still be about to be told: silence alone says nothing.
  #listen() {
    if (this.#pingMs === 0) return;
    this.#pinged = false;
    this.#wait(this.#pingMs);
  }
  #wait(ms, last = false) {
    const { now } = this.#options;
    const due = now() + ms;
    this.#start("silence", ms, () => {
      if (now() - this.#heard < this.#pingMs) this.#pinged = false;
      else if (!this.#pinged) {
        this.#pinged = true;
        this.#send({ type: "ping", id: this.#nextId() });
      } else if (last || now() - due < LATE) return this.#lost("nothing was heard of the server");
      else return this.#wait(LATE, true);
      this.#wait(this.#pingMs);
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

  #pending(among, id, text, urgent = false) {
    const answer = new Promise((resolve, reject) => {
      const over = (call) => (what) => {
        if (among.get(id) === request) among.delete(id);
        request.over = true;
        this._never(timer);
        call(what);
      };
      const request = { text, sent: false, over: false, done: over(resolve), fail: over(reject) };
      const timer = this._later(this.#options.requestTimeout, () =>
        request.fail(new SkeinError("timed_out", `no answer in ${this.#options.requestTimeout} ms`)),
      );
      among.set(id, request);
    });
    const request = among.get(id);
    request.answer = answer;
    if (urgent) this.#unsent.unshift(request);
    else this.#unsent.push(request);
    if (urgent && this.#ready) this.#nextRequest()(); // without it the connection ends
    else this.#sayOn();
    return answer;
  }

  // ---- one thing after the other

  // Says what waits to be said, as much of it as may be said now.
  #sayOn() {
    while (this.#ready) {
      const now = this.#options.now();
      const wait = this.#pace.wait(now);
      if (wait > 0) {
        if (this.#doubtful.size || this.#hasSomethingToSay()) this.#start("pace", wait, () => this.#sayOn());
        return;
      }
      this.#askDoubtfulAgain();
      const say = this.#nextToSay();
      if (!say) return;
      this.#pace.said(now);
      say();
    }
  }

  // Subscriptions first: a client follows what it publishes to. When little can be said, it is said by turns.
  #nextToSay() {
    const ways = [() => this.#nextToAsk(), () => this.#nextRequest(), () => this.#nextAcknowledgement()];
    this.#turn = this.#pace.slow ? (this.#turn + 1) % ways.length : 0;
    for (let i = 0; i < ways.length; i++) {
      const found = ways[(this.#turn + i) % ways.length]();
      if (found) return found;
    }
    return null;
  }
  #hasSomethingToSay() {
    return this.#toAcknowledge.length > 0 || this.#nextRequest() !== null || this.#nextToAsk() !== null;
  }

  #nextRequest() {
    while (this.#unsent[0]?.over) this.#unsent.shift();
    const request = this.#unsent[0];
    if (!request) return null;
    return () => {
      this.#unsent.shift();
      request.sent = true;
      this.#sendText(request.text);
    };
  }

  #nextAcknowledgement() {
    if (!this.#toAcknowledge.length) return null;
    return () => {
      const ids = this.#toAcknowledge.splice(0, MOST_ACKS);
      this.#send({ type: "ack", id: ids.length === 1 ? ids[0] : ids });
    };
  }

  #nextToAsk() {
    if (this.#underWay.size >= this.#mayBeUnderWay()) return null;
    for (const each of this.#wanted)
      if (each instanceof Farewell || !this.#farewells.has(each.channel)) return () => this.#askFor(each);
    return null;
  }
  #mayBeUnderWay() {
    if (this.#pace.wary) return 1;
    if (this.#askedSoFar < MOST_UNDER_WAY) return MOST_UNDER_WAY;
    const grown = Math.floor((this.#answeredSoFar - MOST_UNDER_WAY) / ANSWERED_FOR_MORE);
    return Math.min(MOST_UNDER_WAY, 1 + Math.max(0, grown));
  }

  #askFor(what) {
    const id = this.#nextId();
    this.#wanted.delete(what);
    this.#askedSoFar++;
    this.#asked.set(id, what);
    this.#underWay.set(what, this._later(this.#options.requestTimeout, () => this.#unanswered(what)));
    this.#send({ ...what.request(), id });
  }

  #answers(what, answer) {
    this.#answeredSoFar++;
    this.#settle(what);
    // A request that was repeated may be answered twice.
    for (const [id, whose] of this.#asked)
      if (id === answer.id || (whose === what && answer.type !== "error")) this.#asked.delete(id);
    // It may have ended meanwhile.
    if (this.#farewells.get(what.channel) === what || this._follows(what)) what.answered(answer);
    this.#sayOn();
  }

  #unanswered(what) {
    this.#settle(what);
    this.#wanted.add(what);
    if (what instanceof Feed) {
      const text = `no answer in ${this.#options.requestTimeout} ms`;
      this._trouble(new SkeinError("timed_out", text, { channel: what.channel }));
    }
    this.#sayOn();
  }

  // It is neither under way nor about to be.
  #settle(what) {
    this._never(this.#underWay.get(what));
    for (const all of [this.#underWay, this.#wanted, this.#doubtful]) all.delete(what);
  }

  #askDoubtfulAgain() {
    if (!this.#doubtful.size) return;
    const again = [...this.#doubtful];
    for (const each of again) this.#settle(each);
    this.#wanted = new Set([...again, ...this.#wanted]);
  }

  // An error may say that the server has had too much, whatever it answers.
  #heed({ code, id, retry_after_ms: wait }) {
    if (code !== "rate_limited" || !(wait > 0)) return;
    this.#pace.refused(wait, this.#options.now());
    if (id === undefined) for (const each of this.#underWay.keys()) this.#doubtful.add(each);
    this.#sayOn();
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
      if (!still()) return;
      this.#failedRefreshes = 0;
      this.#expectExpiry(answer);
    } catch {
      // Again, later each time and not all clients at once: the connection ends when the token does, and the next one
      // asks for a token, too.
      if (!still()) return;
      const pause = Math.min(LONGEST_REFRESH_PAUSE, SHORTEST_TOKEN_LIFE * 2 ** Math.min(this.#failedRefreshes++, 30));
      this.#start("token", (pause * (1 + this.#options.random())) / 2, () => this.#refresh());
    }
  }

  // ---- for feeds

  _want(what) {
    this.#wanted.add(what);
    this.#sayOn();
  }

  _follows(feed) {
    return this.#feeds.get(feed.channel) === feed;
  }

  _dropFeed(feed, tell) {
    if (!this._follows(feed)) return;
    this.#feeds.delete(feed.channel);
    const known = feed.live || [...this.#asked.values()].includes(feed);
    feed.lost();
    this.#settle(feed);
    if (!tell || !this.#ready || !known) return this.#sayOn();
    const farewell = new Farewell(this, feed.channel);
    this.#farewells.set(feed.channel, farewell);
    this._want(farewell);
  }

  _gone(farewell) {
    this.#farewells.delete(farewell.channel);
  }

  _trouble(error) {
    this._emit("error", error);
  }

  // After the time that the server asked for, and longer each time that it fails; not all clients at once.
  _againLater(failures, { retryAfterMs = 0 }, call) {
    const { minPause, maxPause, random } = this.#options;
    const pause = Math.min(maxPause, minPause * 2 ** Math.min(failures, 30));
    return this._later(Math.max(retryAfterMs, pause / 2) + (random() * pause) / 2, call);
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

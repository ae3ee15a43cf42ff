// skein.js against servers that are all script: node --test test/javascript

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Client, Gap, PresenceChange, SkeinError } from "../../src/http/web/skein.js";
import { Stage, settle, taker } from "./stage.js";

const news = (offset, epoch = "e") => ({ n: offset, channel: "news", epoch, offset });
const fails = async (promise, code) => assert.rejects(promise, (error) => error instanceof SkeinError && error.code === code);
const quiet = async (call) => {
  const kept = console.error;
  const said = [];
  console.error = (...what) => said.push(what);
  try {
    await call();
  } finally {
    console.error = kept;
  }
  return said;
};

describe("connecting", () => {
  it("is connected once it is welcomed", async () => {
    const f = new Stage();
    await settle();
    assert.equal(f.client.state, "connecting");
    await f.welcome();
    assert.equal(f.client.state, "connected");
    assert.deepEqual(f.states, ["connected"]);
  });

  it("comes back, each time later, and at once again after a connection that held", async () => {
    const f = new Stage();
    await f.welcome();
    for (const pause of [200, 400, 800]) {
      await f.goes();
      assert.equal(f.client.state, "waiting");
      const before = f.sockets.length;
      await f.advance(pause - 1);
      assert.equal(f.sockets.length, before);
      await f.advance(1);
      assert.equal(f.sockets.length, before + 1);
      await f.welcome();
    }
    await f.advance(10_000);
    await f.goes();
    await f.advance(200);
    assert.equal(f.sockets.length, 5);
  });

  it("waits no longer than it may, and draws the pause", async () => {
    const f = new Stage({ random: () => 0.5, maxPause: 1000 });
    await settle();
    const pauses = [];
    f.client.on("state", ({ state, pause }) => state === "waiting" && pauses.push(pause));
    for (let i = 0; i < 50; i++) {
      await f.goes();
      await f.advance(500);
    }
    assert.deepEqual(pauses.slice(0, 4), [100, 200, 400, 500]);
    assert.equal(Math.max(...pauses), 500);
  });

  for (const [code, final] of [
    [1000, false], [1001, false], [1006, false], [1008, false], [1011, false], [1012, false], [4000, false],
    [4008, false], [4499, false], [4500, true], [4503, true], [4999, true],
  ]) {
    it(`${final ? "stays away" : "comes back"} after ${code}`, async () => {
      const f = new Stage();
      await f.welcome();
      await f.goes(code);
      assert.equal(f.client.state, final ? "closed" : "waiting");
      await f.advance(200);
      if (!final) await f.welcome();
      await f.advance(60_000);
      assert.equal(f.sockets.length, final ? 1 : 2);
    });
  }

  it("after 4001 it comes back only with a new token", async () => {
    const fixed = new Stage({ token: "t" });
    await fixed.welcome();
    await fixed.goes(4001);
    assert.equal(fixed.client.state, "closed");
    let n = 0;
    const fresh = new Stage({ token: () => `t${++n}` });
    await fresh.welcome();
    await fresh.goes(4001);
    await fresh.advance(200);
    assert.deepEqual(fresh.socket.protocols, ["skein.v1", "skein.jwt.t2"]);
  });

  it("a URL that is none is for good", async () => {
    const f = new Stage({ url: "nonsense" });
    await settle();
    assert.equal(f.client.state, "closed");
  });

  it("can be told to try at once", async () => {
    const f = new Stage();
    await f.welcome();
    await f.goes();
    f.client.reconnect();
    await settle();
    assert.equal(f.sockets.length, 2);
    await f.welcome();
    await f.advance(60_000);
    assert.equal(f.sockets.length, 2);
  });

  it("a server that does not welcome in time is left, and asked again", async () => {
    const f = new Stage();
    await f.advance(9_999);
    assert.equal(f.socket.closed, null);
    await f.advance(1);
    assert.notEqual(f.sockets[0].closed, null);
    assert.equal(f.states.at(-1), "waiting: the server did not welcome in time");
    await f.advance(200);
    assert.equal(f.sockets.length, 2);
    await f.welcome();
    await f.advance(60_000);
    assert.equal(f.sockets.length, 2);
    assert.equal(f.client.state, "connected");
  });

  it("a token that does not come is not waited for forever", async () => {
    let asked = 0;
    const f = new Stage({ token: () => (++asked === 1 ? new Promise(() => {}) : "t") });
    await f.advance(10_000);
    assert.equal(f.sockets.length, 0);
    await f.advance(200);
    assert.equal(f.sockets.length, 1);
  });

  it("an old connection has nothing to say any more", async () => {
    const f = new Stage();
    await f.welcome();
    const old = f.socket;
    const { onclose, onmessage } = old;
    f.client.reconnect();
    await f.welcome();
    onclose({ code: 1006 });
    onmessage({ data: "{}" });
    assert.equal(f.client.state, "connected");
    assert.ok(old.closed);
  });

  it("tries at once when the browser is online again", async () => {
    const listeners = {};
    globalThis.addEventListener = (name, call) => (listeners[name] = call);
    globalThis.removeEventListener = (name) => delete listeners[name];
    try {
      const f = new Stage();
      await f.welcome();
      listeners.online();
      assert.equal(f.sockets.length, 1);
      await f.goes();
      listeners.online();
      await settle();
      assert.equal(f.sockets.length, 2);
      f.client.close();
      assert.deepEqual(listeners, {});
    } finally {
      delete globalThis.addEventListener;
      delete globalThis.removeEventListener;
    }
  });

  it("options that are not allowed are refused", () => {
    assert.throws(() => new Client("ws://x", { WebSocket: class {}, tokenPlace: "cookie" }), TypeError);
    assert.throws(() => new Client("ws://x", { WebSocket: class {}, bufferSize: 0 }), TypeError);
    const { client } = new Stage();
    assert.throws(() => client.subscribe("news", { bufferSize: 0 }), TypeError);
    client.close();
    const kept = globalThis.WebSocket;
    delete globalThis.WebSocket;
    try {
      assert.throws(() => new Client("ws://x"), TypeError);
    } finally {
      if (kept) globalThis.WebSocket = kept;
    }
  });
});

describe("subscriptions", () => {
  it("are asked for when there is a connection, and again with every other", async () => {
    const f = new Stage();
    const mine = f.client.subscribe("orders");
    const reader = taker(mine);
    await settle();
    assert.deepEqual(f.heard(), []);
    await f.welcome();
    const asked = await f.answers({ type: "subscribed", channel: "orders" });
    assert.deepEqual(asked, { type: "subscribe", channel: "orders", id: asked.id });
    assert.ok(mine.live);
    await f.says({ type: "order_update", channel: "orders" });
    assert.deepEqual(await reader.taken(), [{ type: "order_update", channel: "orders" }]);
    await f.goes();
    assert.ok(!mine.live);
    await f.advance(200);
    await f.welcome();
    await f.answers({ type: "subscribed", channel: "orders" });
    const [gap] = await reader.taken();
    assert.ok(gap instanceof Gap); // what was published meanwhile is not known
    assert.equal(gap.channel, "orders");
  });

  it("recover what was missed, without a repeat at the seam", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news", { epoch: "e", offset: 5 });
    const reader = taker(mine);
    await f.says(news(6), news(7));
    assert.deepEqual(await reader.taken(), [news(6), news(7)]);
    assert.deepEqual(mine.position, { epoch: "e", offset: 7 });
    await f.goes();
    await f.advance(200);
    await f.welcome();
    const asked = await f.answers({ type: "subscribed", channel: "news", epoch: "e", offset: 9, recovered: true });
    assert.deepEqual(asked.recover, { epoch: "e", offset: 7 });
    await f.says(news(7), news(8), news(9), news(10));
    assert.deepEqual(await reader.taken(), [news(8), news(9), news(10)]);
  });

  it("tell what cannot be recovered", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news", { epoch: "e", offset: 5 });
    const gaps = [];
    mine.on("gap", (gap) => gaps.push(gap.offset));
    await f.goes();
    await f.advance(200);
    await f.welcome();
    await f.answers({ type: "subscribed", channel: "news", epoch: "f", offset: 2, recovered: false });
    await f.says(news(3, "f"));
    const [gap, item] = await taker(mine).taken();
    assert.ok(gap instanceof Gap);
    assert.deepEqual([gap.epoch, gap.offset], ["f", 2]);
    assert.deepEqual(item, news(3, "f"));
    assert.deepEqual(gaps, [2]);
  });

  it("tell what the server has left out", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = taker(await f.follows("news", { epoch: "e", offset: 5 }));
    const all = taker(await f.follows("*"));
    const words = async (reader) =>
      (await reader.taken()).map((item) => (item instanceof Gap ? `${item.missing} of ${item.channel} up to ${item.epoch}${item.offset}` : item.n));
    await f.says(news(6), news(9), news(10));
    assert.deepEqual(await words(mine), [6, "2 of news up to e8", 9, 10]);
    assert.deepEqual(await words(all), [6, "2 of news up to e8", 9, 10]);
    await f.goes();
    await f.advance(200);
    await f.welcome();
    const [one, two] = f.heard();
    await f.says({ type: "subscribed", id: one.id, channel: "news", epoch: "e", offset: 12, recovered: true });
    await f.says({ type: "subscribed", id: two.id, channel: "*" });
    await f.says(news(11), news(12), news(14), news(3, "f"));
    assert.deepEqual(await words(mine), [11, 12, "1 of news up to e13", 14, 3]);
    // The first gap is the lost connection's; nobody knows of what.
    assert.deepEqual(await words(all), ["undefined of * up to undefinedundefined", 11, 12, "1 of news up to e13", 14, 3]);
  });

  it("begin where a position says, and tell if that is gone", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = f.client.subscribe("news", { recover: { epoch: "e", offset: 3 } });
    const asked = await f.answers({ type: "subscribed", channel: "news", epoch: "e", offset: 4, recovered: true });
    assert.deepEqual(asked.recover, { epoch: "e", offset: 3 });
    await f.says(news(4));
    assert.deepEqual(await taker(mine).taken(), [news(4)]);
    const gone = await f.follows("old", { epoch: "g", offset: 1, recovered: false }, { recover: { epoch: "x", offset: 9 } });
    assert.ok((await taker(gone).taken())[0] instanceof Gap);
  });

  it("that have taken nothing stand where they began", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = f.client.subscribe("news");
    let at;
    mine.on("subscribed", () => (at = mine.position));
    await f.answers({ type: "subscribed", channel: "news", epoch: "e", offset: 5 });
    assert.deepEqual(at, { epoch: "e", offset: 5 });
    await f.says(news(6));
    assert.deepEqual(mine.position, { epoch: "e", offset: 5 });
    const later = f.client.subscribe("news");
    assert.deepEqual(later.position, { epoch: "e", offset: 6 });
    const plain = await f.follows("plain");
    assert.equal(plain.position, undefined);
  });

  it("that come later with another position than the first has reached begin with a gap", async () => {
    const f = new Stage();
    await f.welcome();
    await f.follows("news", { epoch: "e", offset: 5 });
    await f.says(news(6));
    const same = f.client.subscribe("news", { recover: { epoch: "e", offset: 6 } });
    const other = f.client.subscribe("news", { recover: { epoch: "e", offset: 2 } });
    const gaps = [];
    const got = [];
    other.on("gap", (gap) => gaps.push(gap.offset));
    other.on("message", (m) => got.push(m.n));
    await f.says(news(7));
    assert.deepEqual([gaps, got], [[6], [7]]);
    assert.deepEqual(await taker(same).taken(), [news(7)]);
    assert.deepEqual(f.heard(), []);
  });

  it("tell who comes and goes apart from what is published", async () => {
    const f = new Stage();
    await f.welcome();
    const change = { type: "presence_change", channel: "room", count: 1, joined: [{ connection: "1" }], left: [] };
    const said = { type: "said", channel: "room" };
    const mine = await f.follows("room");
    const heard = [];
    await f.says(change, said, change);
    const iterator = mine[Symbol.asyncIterator]();
    const { value } = await iterator.next();
    assert.ok(value instanceof PresenceChange);
    assert.deepEqual({ ...value }, change);
    mine.on("message", (m) => heard.push(m.type));
    mine.on("presence", (m) => heard.push(m.count));
    await f.says(change, said);
    assert.deepEqual(heard, ["said", 1, 1, "said"]);
  });

  it("carry info, and are told of the server's answer", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = f.client.subscribe("room", { info: { mood: "bullish" } });
    let answer;
    mine.on("subscribed", (what) => (answer = what));
    const asked = await f.answers({ type: "subscribed", channel: "room", epoch: "e", offset: 1 });
    assert.deepEqual(asked.info, { mood: "bullish" });
    assert.equal(answer.offset, 1);
  });

  it("of patterns get what matches", async () => {
    const f = new Stage();
    await f.welcome();
    const one = taker(await f.follows("market.*"));
    const rest = taker(await f.follows("market.>"));
    const all = ["market.AAPL", "market.AAPL.x", "market", "other.AAPL", "market.MSFT"];
    await f.says(...all.map((channel) => ({ channel })));
    assert.deepEqual((await one.taken()).map((m) => m.channel), ["market.AAPL", "market.MSFT"]);
    assert.deepEqual((await rest.taken()).map((m) => m.channel), ["market.AAPL", "market.AAPL.x", "market.MSFT"]);
  });

  it("of patterns get nothing twice that is recovered for another", async () => {
    const f = new Stage();
    await f.welcome();
    const all = taker(await f.follows("*"));
    await f.says(news(5), news(6), { channel: "other", epoch: "o", offset: 1 });
    const one = taker(await f.follows("news", { epoch: "e", offset: 6, recovered: true }, { recover: { epoch: "e", offset: 3 } }));
    await f.says(news(4), news(5), news(6), news(7), news(1, "f"));
    assert.deepEqual((await all.taken()).map((m) => m.offset), [5, 6, 1, 7, 1]);
    assert.deepEqual((await one.taken()).map((m) => m.offset), [4, 5, 6, 7, 1]);
  });

  it("of patterns remember so many topics and no more", async () => {
    const f = new Stage();
    await f.welcome();
    const got = [];
    (await f.follows("t.*")).on("message", (m) => got.push(m.channel));
    const price = (n) => ({ channel: `t.${n}`, epoch: "e", offset: 7 });
    await f.says(...Array.from({ length: 4097 }, (_, n) => price(n)));
    assert.equal(got.splice(0).length, 4097);
    await f.says(price(1), price(4096), price(0));
    assert.deepEqual(got, ["t.0"]);
  });

  it("to one channel share the server's, and the last one ends it", async () => {
    const f = new Stage();
    await f.welcome();
    const one = await f.follows("news");
    const two = f.client.subscribe("news");
    assert.deepEqual(f.heard(), []);
    await f.says({ channel: "news", n: 1 });
    one.unsubscribe();
    one.unsubscribe();
    assert.deepEqual(f.heard(), []);
    assert.deepEqual(await taker(two).taken(), [{ channel: "news", n: 1 }]);
    two.unsubscribe();
    const asked = f.heard()[0];
    assert.deepEqual([asked.type, asked.channel], ["unsubscribe", "news"]);
    // What still comes is of no use to one that is new and not confirmed.
    const three = f.client.subscribe("news");
    await f.says({ channel: "news", n: 2 }, { type: "unsubscribed", id: asked.id, channel: "news" });
    await f.answers({ type: "subscribed", channel: "news" });
    await f.says({ channel: "news", n: 3 });
    assert.deepEqual(await taker(three).taken(), [{ channel: "news", n: 3 }]);
  });

  it("end when the loop is left", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news");
    await f.says({ channel: "news", n: 1 });
    for await (const item of mine) {
      assert.equal(item.n, 1);
      break;
    }
    assert.equal(f.heard()[0].type, "unsubscribe");
    assert.ok(!mine.live);
  });

  it("that the server refuses, or ends, say why", async () => {
    const f = new Stage();
    await f.welcome();
    const refused = f.client.subscribe("secret");
    let why;
    refused.on("ended", (error) => (why = error.code));
    const reader = taker(refused);
    await f.answers({ type: "error", code: "not_allowed", message: "no" });
    await reader.taken();
    assert.equal(reader.end, "not_allowed");
    assert.equal(why, "not_allowed");
    const ended = taker(await f.follows("news"));
    await f.says({ type: "unsubscribed", channel: "news", code: "not_allowed" });
    await ended.taken();
    assert.equal(ended.end, "not_allowed");
    await f.goes();
    await f.advance(200);
    await f.welcome();
    assert.deepEqual(f.heard(), []);
  });

  it("ask again when they may, and tell of it", async () => {
    const f = new Stage({ random: () => 0 });
    await f.welcome();
    const errors = [];
    f.client.on("error", ({ code, channel }) => errors.push([code, channel]));
    const mine = f.client.subscribe("news");
    await f.answers({ type: "error", code: "rate_limited", message: "slowly", retry_after_ms: 500 });
    assert.deepEqual(errors, [["rate_limited", "news"]]);
    await f.advance(499);
    assert.deepEqual(f.heard(), []);
    await f.advance(1);
    await f.answers({ type: "subscribed", channel: "news" });
    assert.ok(mine.live);
  });

  for (const code of ["internal_error", "store_unavailable", "store_full", "keys_unavailable"]) {
    it(`that fail with ${code} are asked for again, later each time, and recover`, async () => {
      const f = new Stage();
      await f.welcome();
      const errors = [];
      f.client.on("error", (error) => errors.push(error.code));
      const mine = f.client.subscribe("news", { recover: { epoch: "e", offset: 1 } });
      for (const pause of [200, 400, 800]) {
        await f.answers({ type: "error", code, message: "" });
        await f.advance(pause - 1);
        assert.deepEqual(f.heard(), []);
        await f.advance(1);
      }
      const asked = await f.answers({ type: "subscribed", channel: "news", epoch: "e", offset: 1, recovered: true });
      assert.deepEqual(asked.recover, { epoch: "e", offset: 1 });
      await f.says(news(2), { type: "unsubscribed", channel: "news", code });
      assert.ok(!mine.live);
      await f.advance(200);
      const again = await f.answers({ type: "subscribed", channel: "news", epoch: "e", offset: 3, recovered: true });
      assert.deepEqual(again.recover, { epoch: "e", offset: 2 });
      await f.says(news(3));
      assert.deepEqual(await taker(mine).taken(), [news(2), news(3)]);
      assert.deepEqual(errors, [code, code, code, code]);
      await f.says({ type: "unsubscribed", channel: "news", code });
      mine.unsubscribe();
      await f.advance(60_000);
      assert.deepEqual(f.heard(), []);
    });
  }

  for (const most of [1, 2, 3]) {
    it(`a reader that is too slow loses the oldest of more than ${most}, and is told`, async () => {
      const f = new Stage();
      await f.welcome();
      const mine = await f.follows("news", { epoch: "e", offset: 0 }, { bufferSize: most });
      let gaps = 0;
      mine.on("gap", () => gaps++);
      for (let i = 1; i <= most; i++) await f.says(news(i));
      assert.equal(gaps, 0);
      await f.says(news(most + 1), news(most + 2));
      assert.equal(gaps, 1);
      const [gap, ...items] = await taker(mine).taken();
      assert.ok(gap instanceof Gap);
      assert.equal(gap.offset, 2);
      assert.deepEqual(items.map((m) => m.n), Array.from({ length: most }, (_, i) => i + 3));
    });
  }

  it("give their items to listeners in the place of the iterator", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news", { epoch: "e", offset: 0 });
    const got = [];
    const stop = mine.on("message", (m) => got.push(m.n));
    await f.says(news(1), news(2));
    assert.deepEqual(got, [1, 2]);
    assert.deepEqual(mine.position, { epoch: "e", offset: 2 });
    stop();
    await f.says(news(3));
    assert.deepEqual(got, [1, 2]);
    assert.deepEqual(await taker(mine).taken(), [news(3)]);
  });

  it("give a listener what came before it, in order, and a gap once", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news", { epoch: "e", offset: 0 }, { bufferSize: 2 });
    const got = [];
    await f.says(news(1), news(2), news(3));
    mine.on("gap", (gap) => got.push(`gap ${gap.offset}`));
    const stop = mine.on("message", (m) => {
      got.push(m.n);
      if (m.n === 3) stop();
    });
    await f.says(news(4));
    assert.deepEqual(got, ["gap 1", 2, 3]);
    assert.deepEqual((await mine[Symbol.asyncIterator]().next()).value, news(4));
    mine.on("gap", () => got.push("heard"));
    await f.says(news(5), news(6), news(7));
    mine.on("message", (m) => got.push(m.n));
    await settle();
    assert.deepEqual(got, ["gap 1", 2, 3, "gap 5", "heard", 6, 7]);
    assert.deepEqual(mine.position, { epoch: "e", offset: 7 });
  });
});

// A server that takes so many messages a second after a burst, and closes at the third that is too many.
class Limited {
  refused = 0;
  closed = 0;
  #offences = 0;
  #calmAt = 0;
  #filledAt = 0;
  #tokens;

  constructor(stage, rate, burst, { ids = true, tells = false }) {
    Object.assign(this, { stage, rate, burst, ids, now: 0 });
    this.hello = tells ? { rate: { messages_per_s: rate, burst }, user_rate: { messages_per_s: 10 * rate, burst } } : {};
    this.#tokens = burst;
  }

  async run(ms, each = 5) {
    for (const end = this.now + ms; this.now < end; ) {
      await this.stage.advance(each);
      this.now += each;
      if (this.stage.client.state === "connecting") {
        this.#tokens = this.burst;
        this.#offences = 0;
        await this.stage.welcome(this.hello);
      }
      for (const asked of this.stage.heard()) {
        if (this.stage.client.state !== "connected") break;
        await this.#take(asked);
      }
    }
  }

  async #take({ type, id, channel }) {
    this.#tokens = Math.min(this.burst, this.#tokens + ((this.now - this.#filledAt) * this.rate) / 1000);
    this.#filledAt = this.now;
    if (this.#tokens >= 1) {
      this.#tokens--;
      return this.stage.says({ type: type === "subscribe" ? "subscribed" : "pong", id, channel });
    }
    this.refused++;
    if (this.now >= this.#calmAt) this.#offences = 0;
    this.#calmAt = this.now + Math.max(1000, (this.burst * 1000) / this.rate);
    if (++this.#offences >= 3) {
      this.closed++;
      return this.stage.goes(1008, "too many messages");
    }
    const wait = Math.ceil(((1 - this.#tokens) * 1000) / this.rate);
    return this.stage.says({ type: "error", code: "rate_limited", retry_after_ms: wait, ...(this.ids ? { id } : {}) });
  }
}

describe("many subscriptions", () => {
  const subscribe = (f, n) => Array.from({ length: n }, (_, i) => f.client.subscribe(`c${i}`));
  const confirm = async (f, asked) => {
    for (const { id, channel } of asked) await f.says({ type: "subscribed", id, channel });
  };

  it("are not asked for all at once", async () => {
    const f = new Stage();
    const all = subscribe(f, 1000);
    await f.welcome();
    let most = 0;
    let turns = 0;
    for (let asked = f.heard(); asked.length; asked = f.heard(), turns++) {
      most = Math.max(most, asked.length);
      await confirm(f, asked);
    }
    assert.ok(all.every((each) => each.live));
    assert.ok(most <= 16);
    assert.ok(turns < 200, `${turns} turns`);
  });

  for (const ids of [true, false]) {
    for (const [rate, burst, n, closed] of [
      [10, 20, 22, 0],
      [10, 20, 40, 0],
      [100, 40, 100, 0],
      [5, 5, 20, 1],
    ]) {
      it(`all begin where ${rate} messages a second are taken after ${burst}, ${ids ? "with" : "without"} ids in the refusals`, async () => {
        let seed = 7;
        const f = new Stage({ random: () => (seed = (seed * 16807) % 2147483647) / 2147483647 });
        const all = subscribe(f, n);
        const server = new Limited(f, rate, burst, { ids });
        await server.run(20_000);
        assert.equal(all.filter((each) => each.live).length, n);
        assert.ok(server.closed <= closed, `closed ${server.closed} times, ${server.refused} refused`);
      });
    }
  }

  for (const [rate, burst, n] of [
    [10, 20, 40],
    [10, 3, 20],
    [5, 1, 10],
    [1, 1, 5],
    [1000, 50, 100],
  ]) {
    it(`all begin without a refusal where the server has told that it takes ${rate} messages a second after ${burst}`, async () => {
      const f = new Stage({ random: () => 0 });
      const all = subscribe(f, n);
      const server = new Limited(f, rate, burst, { tells: true });
      await server.run((n / rate) * 1200 + 1000);
      assert.equal(all.filter((each) => each.live).length, n);
      assert.deepEqual([server.refused, server.closed], [0, 0]);
    });
  }

  it("leave what else is said its turn", async () => {
    const f = new Stage({ random: () => 0 });
    await f.welcome();
    subscribe(f, 20);
    const [first, ...others] = f.heard();
    await confirm(f, others);
    await f.says({ type: "error", code: "rate_limited", id: first.id, retry_after_ms: 100 });
    const pong = f.client.ping();
    await f.says({ type: "alert", message_id: 1 }, { type: "alert", message_id: 2 }, { type: "note" });
    const mail = f.client.messages();
    for (let i = 0; i < 3; i++) await mail.next();
    await f.advance(99);
    assert.deepEqual(f.heard(), []);
    const said = [];
    for (let i = 0; i < 100 && said.length < 4; i++) {
      await f.advance(100);
      const now = f.heard();
      assert.ok(now.length <= 1);
      said.push(...now);
      for (const { type, id, channel } of now) await f.says({ type: type === "subscribe" ? "subscribed" : "pong", id, channel });
    }
    await pong;
    assert.deepEqual(said.map((each) => each.type).sort(), ["ack", "ping", "subscribe", "subscribe"]);
    assert.deepEqual(said.find((each) => each.type === "ack").id, [1, 2]);
  });

  it("that are never answered are asked for again, and a late answer counts once", async () => {
    const f = new Stage();
    await f.welcome();
    const errors = [];
    f.client.on("error", ({ code, channel }) => errors.push([code, channel]));
    const mine = f.client.subscribe("news");
    const reader = taker(mine);
    const [first] = f.heard();
    await f.advance(9_999);
    assert.deepEqual(f.heard(), []);
    await f.advance(1);
    const [second] = f.heard();
    assert.deepEqual([second.type, second.channel], ["subscribe", "news"]);
    assert.deepEqual(errors, [["timed_out", "news"]]);
    await f.says({ type: "subscribed", id: first.id, channel: "news", epoch: "e", offset: 1 });
    await f.says(news(2));
    await f.says({ type: "subscribed", id: second.id, channel: "news", epoch: "e", offset: 2, already: true });
    await f.says(news(3));
    assert.deepEqual(await reader.taken(), [news(2), news(3)]);
    await f.advance(60_000);
    assert.deepEqual(f.heard(), []);
    assert.equal(f.timers, 0);
  });

  it("that end are not begun again before the server has heard of it", async () => {
    const f = new Stage({ random: () => 0 });
    await f.welcome();
    (await f.follows("news")).unsubscribe();
    const again = f.client.subscribe("news");
    const left = await f.answers({ type: "error", code: "rate_limited", retry_after_ms: 300 });
    assert.equal(left.type, "unsubscribe");
    await f.advance(300);
    assert.equal((await f.answers({ type: "unsubscribed", channel: "news" })).type, "unsubscribe");
    await f.advance(600);
    assert.equal((await f.answers({ type: "subscribed", channel: "news" })).type, "subscribe");
    assert.ok(again.live);
    // What was never asked for needs no end.
    const late = new Stage();
    const never = late.client.subscribe("news");
    subscribe(late, 20);
    await late.welcome();
    const queued = late.client.subscribe("other");
    queued.unsubscribe();
    never.unsubscribe();
    await confirm(late, late.heard());
    assert.deepEqual(late.heard().map((each) => [each.type, each.channel]), [["subscribe", "c15"]]);
  });

  it("do not keep a token from being renewed", async () => {
    let n = 0;
    const f = new Stage({ token: () => `t${++n}` });
    await f.welcome({ expires_in_ms: 10_000 });
    f.client.subscribe("news");
    await f.answers({ type: "error", code: "rate_limited", retry_after_ms: 3_600_000 });
    await f.advance(8_000);
    assert.equal(f.heard()[0].type, "refresh");
  });

  it("are not held back by an acknowledgement that was refused", async () => {
    const f = new Stage({ random: () => 0 });
    await f.welcome();
    f.client.on("message", () => {});
    await f.says({ type: "alert", message_id: 7 });
    f.heard();
    await f.says({ type: "error", code: "rate_limited", retry_after_ms: 100 });
    f.client.subscribe("news");
    await f.says({ type: "error", id: 7, code: "store_unavailable" });
    await f.advance(100);
    assert.deepEqual(f.heard().map((each) => each.type), ["subscribe"]);
  });

  it("an acknowledgement that was refused is made again", async () => {
    const f = new Stage();
    await f.welcome();
    f.client.on("message", () => {});
    await f.says({ type: "alert", message_id: 7 });
    await f.answers({ type: "error", id: 7, code: "store_unavailable" });
    assert.deepEqual(f.heard(), []);
    await f.advance(2_000);
    assert.deepEqual(f.heard(), [{ type: "ack", id: 7 }]);
  });
});

describe("requests", () => {
  it("get their answers, whatever the order", async () => {
    const f = new Stage();
    await f.welcome();
    const one = f.client.ping();
    const two = f.client.publish("chat", { text: "hi" });
    const three = f.client.publish("chat", 1);
    const [ping, publish, plain] = f.heard();
    assert.deepEqual(publish, { type: "publish", channel: "chat", data: { text: "hi" }, id: publish.id });
    await f.says({ type: "published", id: publish.id, channel: "chat", epoch: "e", offset: 7 });
    assert.deepEqual(await two, { epoch: "e", offset: 7 });
    await f.says({ type: "published", id: plain.id, channel: "chat" }, { type: "pong", id: ping.id });
    assert.equal(await three, undefined);
    assert.equal((await one).type, "pong");
  });

  it("answered too late are neither publications nor messages", async () => {
    const f = new Stage();
    await f.welcome();
    const items = [];
    f.client.on("message", (message) => items.push(message));
    const chat = f.client.subscribe("chat");
    chat.on("message", (message) => items.push(message));
    const [subscribe] = f.heard();
    await f.says({ type: "subscribed", id: subscribe.id, channel: "chat", epoch: "e", offset: 6 });
    const lost = [fails(f.client.publish("chat", 1), "timed_out"), fails(f.client.request({ type: "price" }), "timed_out")];
    const [publish, price] = f.heard();
    await f.advance(10_000);
    await Promise.all(lost);
    await f.says({ type: "published", id: publish.id, channel: "chat", epoch: "e", offset: 7 }, { type: "price", id: price.id, price: 1 });
    assert.deepEqual(items, []);
    const real = { n: 7, channel: "chat", epoch: "e", offset: 7 };
    await f.says(real);
    assert.deepEqual(items, [real]);
  });

  it("are not answered by a publication's id", async () => {
    const f = new Stage();
    await f.welcome();
    const chat = await f.follows("chat");
    let said = 0;
    chat.on("message", () => said++);
    const ping = f.client.ping();
    const ack = f.client.ack(11);
    let done = 0;
    ping.then(() => done++);
    ack.then(() => done++);
    const [asked] = f.heard();
    for (const id of ["c1", "c2", "c3", "s1", "1", 1, 11])
      for (const type of ["pong", "acked", "error", "said"]) await f.says({ type, id, channel: "chat" });
    assert.equal(said, 28);
    assert.equal(done, 0);
    await f.says({ type: "pong", id: asked.id }, { type: "acked", id: 11 });
    await Promise.all([ping, ack]);
    const other = new Stage();
    await other.welcome();
    const closed = fails(other.client.ping(), "closed");
    assert.notEqual(other.heard()[0].id.split("-")[0], asked.id.split("-")[0]);
    other.client.close();
    await closed;
  });

  it("that are no JSON fail at once, and say what is asked now and not what it becomes", async () => {
    const f = new Stage();
    await assert.rejects(f.client.publish("chat", 1n), TypeError);
    const data = { n: 1 };
    const answer = f.client.publish("chat", data);
    data.n = 2;
    await f.welcome();
    const [publish] = f.heard();
    assert.deepEqual(publish.data, { n: 1 });
    await f.says({ type: "published", id: publish.id, channel: "chat" });
    await answer;
  });

  it("ask for a history and for presence", async () => {
    const f = new Stage();
    await f.welcome();
    f.client.history("news", { limit: 5, since: { epoch: "e", offset: 1 } });
    const { id, ...history } = f.heard()[0];
    assert.deepEqual(history, { type: "history", channel: "news", limit: 5, since: { epoch: "e", offset: 1 } });
    const present = f.client.presence("room");
    await f.answers({ type: "presence", channel: "room", count: 1, members: [{ connection: "1" }] });
    assert.equal((await present).count, 1);
  });

  it("fail with what the server says", async () => {
    const f = new Stage();
    await f.welcome();
    const refused = f.client.publish("chat", 1);
    await f.answers({ type: "error", code: "bad_request", message: "no", field: "data", retry_after_ms: 7 });
    await assert.rejects(refused, (error) => error.code === "bad_request" && error.field === "data" && error.retryAfterMs === 7 && error.message === "no");
  });

  it("fail in time, and with the connection", async () => {
    const f = new Stage();
    await f.welcome();
    const late = fails(f.client.ping(), "timed_out");
    await f.advance(10_000);
    await late;
    const lost = fails(f.client.ping(), "connection_lost");
    await f.goes();
    await lost;
  });

  it("wait for a connection if there is none", async () => {
    const f = new Stage();
    const early = f.client.ping();
    await f.welcome();
    await f.answers({ type: "pong" });
    assert.equal((await early).type, "pong");
    await f.goes();
    const never = fails(f.client.ping(), "timed_out");
    for (let i = 0; i < 100; i++) {
      await f.goes();
      await f.advance(100);
    }
    await never;
  });

  it("leave no timer behind", async () => {
    const f = new Stage();
    await f.welcome();
    const done = f.client.ping();
    await f.answers({ type: "pong" });
    await done;
    assert.equal(f.timers, 0);
    await f.goes();
    f.client.close();
    assert.equal(f.timers, 0);
  });
});

describe("messages of the user", () => {
  const alert = (n) => ({ type: "alert", n, message_id: 10 + n });

  it("are acknowledged when the next one is asked for", async () => {
    const f = new Stage();
    await f.welcome();
    await f.says(alert(1), alert(2), { type: "note", n: 3 });
    const mail = f.client.messages();
    assert.equal((await mail.next()).value.n, 1);
    assert.deepEqual(f.heard(), []);
    assert.equal((await mail.next()).value.n, 2);
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
    assert.equal((await mail.next()).value.n, 3);
    assert.deepEqual(f.heard(), [{ type: "ack", id: 12 }]);
  });

  it("that come again are dropped, and acknowledged again if they had been", async () => {
    const f = new Stage();
    await f.welcome();
    await f.says(alert(1), alert(2));
    const mail = f.client.messages();
    await mail.next();
    await mail.next(); // acknowledges the first
    f.heard();
    await f.goes();
    await f.advance(200);
    await f.welcome();
    await f.says(alert(1));
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
    await f.says(alert(2));
    assert.deepEqual(f.heard(), []);
    mail.next();
    await settle();
    assert.deepEqual(f.heard(), [{ type: "ack", id: 12 }]);
  });

  it("go to listeners, and are acknowledged when these are done", async () => {
    const f = new Stage();
    await f.welcome();
    const got = [];
    let finish;
    f.client.on("message", (m) => {
      got.push(m.n);
      return m.n === 2 ? new Promise((resolve) => (finish = resolve)) : undefined;
    });
    await f.says(alert(1), alert(2));
    assert.deepEqual(got, [1, 2]);
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
    finish();
    await settle();
    assert.deepEqual(f.heard(), [{ type: "ack", id: 12 }]);
  });

  it("that came before the first listener go to it, and are acknowledged", async () => {
    const f = new Stage();
    await f.welcome();
    await f.says(alert(1), alert(2));
    const got = [];
    f.client.on("message", (m) => got.push(m.n));
    await f.says(alert(3));
    assert.deepEqual(got, [1, 2, 3]);
    assert.deepEqual(f.heard().map((each) => each.id), [11, 12, 13]);
  });

  it("come again if a listener fails", async () => {
    const f = new Stage();
    await f.welcome();
    let tries = 0;
    f.client.on("message", (m) => {
      tries++;
      if (m.n === 1 && tries === 1) throw new Error("first");
      if (m.n === 2) return Promise.reject(new Error("second"));
    });
    const said = await quiet(() => f.says(alert(1), alert(2)));
    assert.equal(said.length, 2);
    assert.deepEqual(f.heard(), []);
    await f.says(alert(1));
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
  });

  it("that nobody acknowledged are handed out again when they come again", async () => {
    const f = new Stage();
    const again = async (...messages) => {
      await f.goes();
      await f.advance(20_000);
      await f.welcome();
      await f.says(...messages);
    };
    await f.welcome();
    await f.says(alert(1), alert(2), alert(3));
    const got = [];
    await assert.rejects(async () => {
      for await (const m of f.client.messages()) {
        got.push(m.n);
        if (m.n === 2) throw new Error("mine");
      }
    });
    await again(alert(2), alert(3));
    for await (const m of f.client.messages()) {
      got.push(m.n);
      if (m.n === 2) break;
    }
    await again(alert(2), alert(3));
    const reader = taker(f.client.messages());
    got.push(...(await reader.taken()).map((m) => m.n));
    assert.deepEqual(got, [1, 2, 2, 2, 3]);
    assert.deepEqual(f.heard().map((each) => each.id), [12, 13]);
    await again(alert(2), alert(3));
    assert.deepEqual(f.heard().map((each) => each.id), [12, 13]);
    assert.deepEqual(await reader.taken(), []);
  });

  it("acknowledged by hand come again until they are", async () => {
    const f = new Stage({ acknowledge: false });
    await f.welcome();
    const got = [];
    f.client.on("message", (m) => {
      got.push(m.n);
      if (got.length === 1) throw new Error("mine");
    });
    await quiet(() => f.says(alert(1)));
    await f.says(alert(1));
    assert.deepEqual(got, [1, 1]);
    const lost = fails(f.client.ack(11), "connection_lost");
    await f.goes();
    await lost;
    await f.advance(200);
    await f.welcome();
    await f.says(alert(1));
    assert.deepEqual(got, [1, 1, 1]);
    const done = f.client.ack(11);
    await f.says({ type: "acked", id: 11 });
    await done;
    await f.says(alert(1));
    assert.deepEqual(got, [1, 1, 1]);
  });

  it("that come again while a listener is at them are its affair, and its failure's", async () => {
    const f = new Stage();
    await f.welcome();
    const got = [];
    const ends = [];
    f.client.on("message", (m) => {
      got.push(m.n);
      return new Promise((resolve, reject) => ends.push({ resolve, reject }));
    });
    await f.says(alert(1));
    await f.says(alert(1));
    assert.deepEqual(got, [1]);
    await quiet(async () => {
      ends[0].reject(new Error("mine"));
      await settle();
    });
    assert.deepEqual(got, [1, 1]);
    await f.says(alert(1));
    ends[1].resolve();
    await settle();
    assert.deepEqual(got, [1, 1]);
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
  });

  it("acknowledged twice at once are acknowledged together", async () => {
    const f = new Stage({ acknowledge: false });
    await f.welcome();
    const both = Promise.all([f.client.ack(11), f.client.ack(11)]);
    await settle();
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
    await f.says({ type: "acked", id: 11 });
    await both;
  });

  it("can be acknowledged by hand", async () => {
    const f = new Stage({ acknowledge: false });
    await f.welcome();
    await f.says(alert(1));
    const mail = f.client.messages();
    await mail.next();
    mail.next();
    await settle();
    assert.deepEqual(f.heard(), []);
    const done = f.client.ack(11);
    await settle();
    assert.deepEqual(f.heard(), [{ type: "ack", id: 11 }]);
    await f.says({ type: "acked", id: 11 });
    await done;
    const refused = fails(f.client.ack(12), "store_unavailable");
    await settle();
    await f.says({ type: "error", id: 12, code: "store_unavailable", message: "" });
    await refused;
  });

  it("past the bound are not taken, are counted, and come again in their order", async () => {
    const f = new Stage({ bufferSize: 1 });
    await f.welcome();
    const errors = [];
    f.client.on("error", (error) => errors.push(error.code));
    await f.says(alert(1), alert(2), { type: "note" });
    const mail = f.client.messages();
    assert.equal((await mail.next()).value.n, 1);
    await f.says(alert(3)); // must not overtake the second
    assert.equal(f.client.dropped, 3);
    assert.deepEqual(errors, ["buffer_full"]);
    const second = mail.next();
    await f.advance(200);
    assert.equal(f.sockets.length, 2);
    await f.welcome();
    await f.says(alert(2), alert(3));
    assert.equal((await second).value.n, 2);
    const third = mail.next();
    await f.says(alert(3));
    assert.equal((await third).value.n, 3);
    assert.equal(f.sockets.length, 2);
  });

  it("that were left on the server are fetched when somebody listens", async () => {
    const f = new Stage({ bufferSize: 1 });
    await f.welcome();
    await f.says(alert(1), alert(2));
    const got = [];
    f.client.on("message", (m) => got.push(m.n));
    await f.advance(200);
    await f.welcome();
    await f.says(alert(2), alert(3));
    assert.deepEqual(got, [1, 2, 3]);
  });
});

describe("tokens", () => {
  it("go into the subprotocol", async () => {
    const f = new Stage({ token: async () => "abc" });
    await settle();
    assert.deepEqual(f.socket.protocols, ["skein.v1", "skein.jwt.abc"]);
    const own = new Stage({ token: "abc", protocols: ["mine"] });
    await settle();
    assert.deepEqual(own.socket.protocols, ["mine", "skein.jwt.abc"]);
    const none = new Stage();
    await settle();
    assert.deepEqual(none.socket.protocols, []);
  });

  it("or into the first message", async () => {
    const f = new Stage({ token: "abc", tokenPlace: "first-message" });
    await settle();
    assert.deepEqual(f.socket.protocols, []);
    f.socket.onopen({});
    assert.deepEqual(f.heard(), [{ type: "auth", token: "abc" }]);
    await f.says({ type: "authenticated", user: "ada" });
    assert.equal(f.client.state, "connecting");
    await f.says({ type: "welcome" });
    assert.equal(f.client.state, "connected");
  });

  it("are renewed when a fifth of their life is left", async () => {
    let n = 0;
    const f = new Stage({ token: () => `t${++n}` });
    await f.welcome({ expires_in_ms: 100_000 });
    await f.advance(79_999);
    assert.deepEqual(f.heard(), []);
    await f.advance(1);
    const asked = await f.answers({ type: "refreshed", expires_in_ms: 10_000 });
    assert.deepEqual([asked.type, asked.token], ["refresh", "t2"]);
    await f.advance(8000);
    await f.answers({ type: "error", code: "keys_unavailable", message: "" });
    await f.advance(1000);
    assert.equal(f.heard()[0].token, "t4");
    await f.goes();
    await f.advance(200);
    await f.welcome();
    await f.advance(3_600_000);
    assert.equal(f.sockets.length, 2);
  });

  it("that cannot be renewed are asked for again, later each time", async () => {
    let n = 0;
    const f = new Stage({
      token: async () => {
        if (++n > 1) throw new Error("the directory is down");
        return "t";
      },
    });
    await f.welcome({ expires_in_ms: 100_000 });
    await f.advance(80_000);
    assert.equal(n, 2);
    let expected = 2;
    for (const pause of [1, 2, 4, 8, 16, 20, 20]) {
      await f.advance(pause * 1000 - 1);
      assert.equal(n, expected);
      await f.advance(1);
      assert.equal(n, ++expected);
    }
  });

  it("that live longer than a timer can run are renewed when that has passed, and not at once", async () => {
    const longest = 2 ** 31 - 1;
    let n = 0;
    const f = new Stage({ token: () => `t${++n}` });
    await f.welcome({ expires_in_ms: 2 ** 40 });
    await f.advance(longest - 1);
    assert.deepEqual(f.heard(), []);
    await f.advance(1);
    assert.equal(f.heard()[0].token, "t2");
  });

  it("that cannot be had are a connection that cannot be made", async () => {
    let n = 0;
    const f = new Stage({
      token: async () => {
        if (++n < 3) throw new Error("the directory is down");
        return "t";
      },
    });
    await settle();
    assert.equal(f.sockets.length, 0);
    assert.deepEqual(f.states, ["waiting: no token: the directory is down"]);
    await f.advance(600);
    assert.equal(f.sockets.length, 1);
  });

  it("that come when nobody wants them any more", async () => {
    let give;
    const f = new Stage({ token: () => new Promise((resolve) => (give = resolve)) });
    f.client.close();
    give("t");
    await settle();
    assert.equal(f.sockets.length, 0);
  });
});

describe("silence", () => {
  it("is broken by a ping, and ends the connection when that is not answered", async () => {
    const f = new Stage();
    await f.welcome({ ping_ms: 25_000 });
    await f.advance(24_999);
    assert.deepEqual(f.heard(), []);
    await f.advance(1);
    const [ping] = f.heard();
    assert.equal(ping.type, "ping");
    await f.says({ type: "pong", id: ping.id });
    await f.advance(25_000);
    assert.equal(f.heard()[0].type, "ping");
    const socket = f.socket;
    await f.advance(25_000);
    assert.ok(socket.closed);
    assert.equal(f.client.state, "waiting");
    await f.advance(200);
    assert.equal(f.sockets.length, 2);
  });

  it("does not end a connection of a page whose timers run late", async () => {
    const f = new Stage();
    await f.welcome({ ping_ms: 25_000 });
    for (let minute = 0; minute < 10; minute++) {
      await f.sleep(60_000);
      const [ping] = f.heard();
      if (ping) await f.says({ type: "pong", id: ping.id });
    }
    assert.equal(f.client.state, "connected");
    // The answer to a ping was there before the page woke, and is told after the timer.
    await f.sleep(60_000);
    assert.equal(f.heard().length, 1);
    await f.sleep(3_600_000);
    await f.says({ type: "pong", id: "p" });
    await f.advance(20_000);
    assert.equal(f.sockets.length, 1);
    // It is found out all the same that nobody is there.
    for (let minute = 0; minute < 4; minute++) await f.sleep(60_000);
    assert.ok(f.states.includes("waiting: nothing was heard of the server"));
  });

  it("is no matter where the server does not ping", async () => {
    const f = new Stage();
    await f.welcome();
    await f.advance(3_600_000);
    assert.equal(f.client.state, "connected");
    assert.deepEqual(f.heard(), []);
  });
});

describe("closing", () => {
  it("ends everything, and nobody comes back", async () => {
    const f = new Stage();
    await f.welcome();
    const reader = taker(await f.follows("news"));
    await reader.taken();
    const waits = fails(f.client.ping(), "closed");
    const mail = f.client.messages().next();
    f.client.close(1000, "bye");
    f.client.close();
    await waits;
    await reader.taken();
    assert.equal(reader.end, "done");
    assert.equal((await mail).done, true);
    assert.deepEqual(f.socket.closed, { code: 1000, reason: "bye" });
    await f.advance(60_000);
    assert.equal(f.sockets.length, 1);
    assert.equal(f.client.state, "closed");
    await fails(f.client.ping(), "closed");
    await fails(f.client.ack(1), "closed");
    const late = taker(f.client.subscribe("x"));
    await late.taken();
    assert.equal(late.end, "done");
    f.client.reconnect();
    await settle();
    assert.equal(f.sockets.length, 1);
  });

  it("works while it waits, and in a listener", async () => {
    const waiting = new Stage();
    await waiting.welcome();
    await waiting.goes();
    waiting.client.close();
    await waiting.advance(60_000);
    assert.equal(waiting.sockets.length, 1);
    const f = new Stage();
    f.client.on("state", ({ state }) => state === "connected" && f.client.close());
    f.client.subscribe("news");
    await f.welcome();
    assert.equal(f.client.state, "closed");
    assert.deepEqual(f.heard(), []);
  });
});

describe("what should not happen", () => {
  it("listeners that throw harm nobody", async () => {
    const f = new Stage();
    f.client.on("state", () => {
      throw new Error("mine");
    });
    const said = await quiet(() => f.welcome());
    assert.equal(said.length, 1);
    const mine = await f.follows("news");
    mine.on("message", () => {
      throw new Error("mine too");
    });
    const got = [];
    mine.on("message", (m) => got.push(m.n));
    await quiet(() => f.says({ channel: "news", n: 1 }));
    assert.deepEqual(got, [1]);
    assert.throws(() => mine.on("message", 1), TypeError);
  });

  it("a server that talks nonsense harms nobody", async () => {
    const f = new Stage();
    await settle();
    await f.says({ type: "published" });
    await f.welcome();
    const mine = await f.follows("news");
    const odd = ["", "x", "[]", "1", "null", "{}", { type: 1 }, { channel: 1 }, { id: {} }, { id: "c99", type: "pong" },
      { channel: "news", epoch: 1, offset: "x" }, { channel: "news", epoch: "e", offset: -1.5 }, { type: "welcome" },
      { type: "unsubscribed", code: 1 }, { type: "acked", id: [1, {}] }];
    await f.says(...odd);
    f.socket.onmessage({ data: new ArrayBuffer(2) });
    await f.says({ channel: "news", n: 1 });
    const items = await taker(mine).taken();
    assert.equal(items.at(-1).n, 1);
    assert.equal(f.client.state, "connected");
  });

  it("errors that answer nothing are told", async () => {
    const f = new Stage();
    await f.welcome();
    const errors = [];
    f.client.on("error", (error) => errors.push(error.code));
    await f.says({ type: "error", code: "store_unavailable", message: "" });
    assert.deepEqual(errors, ["store_unavailable"]);
  });

  it("a socket that throws when it is sent something", async () => {
    const f = new Stage();
    await f.welcome();
    f.socket.close();
    const lost = fails(f.client.ping(), "connection_lost");
    await f.goes();
    await lost;
  });

  it("two readers of one iterator", async () => {
    const f = new Stage();
    await f.welcome();
    const mine = await f.follows("news");
    const one = mine[Symbol.asyncIterator]().next();
    await fails(mine[Symbol.asyncIterator]().next(), "busy");
    await f.says({ channel: "news", n: 1 });
    assert.equal((await one).value.n, 1);
  });
});

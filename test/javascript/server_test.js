// skein.js against a real server that is ended and started again: node server_test.js SKEIN_SERVER
// SKEIN_KILLS in the environment ends it more often.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";

import { Client, Gap } from "../../src/http/web/skein.js";
import { Server, in_time, load_ws, publish_on, with_folder } from "./server.js";

const WebSocket = load_ws();
const program = process.argv[2];
const kills = Number(process.env.SKEIN_KILLS ?? 10);
const options_of = (topic) => ["--examples=false", "--topic", topic];

const client_of = (server, more = {}) => new Client(server.url, { WebSocket, minPause: 5, maxPause: 50, ...more });

const integrity_of = (database) =>
  execFileSync("python3", ["-c", "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone())", database])
    .toString()
    .trim();

/** Every publication that the server acknowledged is there, once and in order, however the server ends. */
async function nothing_is_lost(signal_of) {
  await with_folder(async (folder) => {
    const options = options_of("news history=1000000 durable publish=everybody");
    const server = await new Server(program, [...options, "--store", join(folder, "store.db")]).start();
    const reader = client_of(server);
    const writer = client_of(server);
    try {
      let acknowledged = 0;
      let got = 0;
      let over = false;
      let grown = () => {};
      const subscription = reader.subscribe("news", { recover: { epoch: "", offset: 0 } });
      await in_time(new Promise((resolve) => subscription.on("subscribed", resolve)), "the subscription");
      const reading = (async () => {
        for await (const item of subscription) {
          if (item instanceof Gap && got === 0) continue; // nothing was there to recover
          assert.ok(!(item instanceof Gap), `a gap after ${got}`);
          assert.equal(item.n, ++got);
          grown();
        }
      })();
      const writing = publish_on(writer, "news", { until: () => over, published: (n) => ((acknowledged = n), grown()) });
      const failed = new Promise((_, reject) => [reading, writing].forEach((each) => each.catch(reject)));
      failed.catch(() => {}); // it may fail while nobody waits: whoever waits next is told
      const until = (holds, what) =>
        in_time(Promise.race([failed, new Promise((resolve) => (grown = () => holds() && resolve()))]), what);
      for (let i = 0; i < kills; i++) {
        const next = acknowledged + 1 + Math.floor(Math.random() * 50);
        await until(() => acknowledged >= next, `publication ${next}`);
        await server.stop(signal_of(i));
        await server.start();
      }
      over = true;
      await in_time(writing, "the last publication");
      if (got < acknowledged) await until(() => got >= acknowledged, "what was published");
      subscription.unsubscribe();
      await reading;
      assert.ok(got >= acknowledged);
      await server.stop("SIGKILL");
      assert.equal(integrity_of(join(folder, "store.db")), "ok");
      console.log(`${kills} ends of the server, ${acknowledged} publications acknowledged, ${got} received, in order`);
    } finally {
      reader.close();
      writer.close();
      await server.stop("SIGKILL");
    }
  });
}

async function everything_else() {
  const server = await new Server(program, options_of("news history=1000000 publish=everybody presence")).start();
  const one = client_of(server);
  const two = client_of(server);
  try {
    const mine = one.subscribe("news", { info: { desk: 7 } });
    await in_time(new Promise((resolve) => mine.on("subscribed", resolve)), "the subscription");
    for (let n = 1; n <= 3; n++) assert.equal((await two.publish("news", { n })).offset, n);
    const page = await two.history("news", { limit: 2 });
    assert.deepEqual(page.publications.map((p) => p.n), [2, 3]);
    const after = await two.history("news", { since: { epoch: page.epoch, offset: 1 }, limit: 1 });
    assert.deepEqual([after.publications[0].n, after.more, after.recovered], [2, true, true]);
    const present = await two.presence("news");
    assert.deepEqual([present.count, present.members[0].info], [1, { desk: 7 }]);
    assert.equal((await one.ping()).type, "pong");
    await assert.rejects(two.publish("other", 1), { code: "not_allowed" });
    await assert.rejects(two.request({ type: "nonsense" }), { code: "unknown_type" });
    const wrong = one.subscribe("a..b");
    await assert.rejects(wrong[Symbol.asyncIterator]().next(), { code: "bad_channel" });
    console.log("history, presence, refusals: as they should be");
  } finally {
    one.close();
    two.close();
    await server.stop();
  }
}

/** More subscriptions than the server takes messages: all of them begin, and the connection holds. */
async function keeps_the_pace() {
  const server = await new Server(program, [...options_of("news.* history=10"), "--message-rate", "20/s:20"]).start();
  const client = client_of(server);
  try {
    let connections = 0;
    client.on("state", ({ state }) => state === "connected" && connections++);
    const begun = Array.from({ length: 40 }, (_, i) => new Promise((resolve) => client.subscribe(`news.${i}`).on("subscribed", resolve)));
    await in_time(Promise.all(begun), "40 subscriptions");
    assert.equal(connections, 1);
    console.log("40 subscriptions where 20 messages a second are taken: all of them, on one connection");
  } finally {
    client.close();
    await server.stop();
  }
}

await everything_else();
await keeps_the_pace();
await nothing_is_lost((i) => (i % 2 ? "SIGTERM" : "SIGKILL"));

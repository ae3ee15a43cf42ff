// skein.js and the page in a headless Chromium: node browser_test.js SKEIN_SERVER [PICTURE.png]
// Exits with 77, which ctest takes for "skipped", if there is no Chromium.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Client } from "../../src/http/web/skein.js";
import { Browser, certutil, chromium } from "./browser.js";
import { Server, load_ws, publish_on, with_folder } from "./server.js";

const [, , program, picture] = process.argv;

if (!chromium || !certutil) {
  console.log("skipped: no Chromium, or no certutil (Debian: chromium, libnss3-tools)");
  process.exit(77);
}

/** The server is ended and started again three times while messages are published: the browser gets every one. */
async function recovers(browser, folder) {
  const options = ["--examples=false", "--topic", "news history=100000 durable publish=everybody"];
  const server = await new Server(program, [...options, "--store", join(folder, "store.db")]).start();
  const writer = new Client(server.url, { WebSocket: load_ws(), minPause: 5, maxPause: 50 });
  try {
    await browser.visit(`http://127.0.0.1:${server.port}/skein.js`);
    await browser.evaluate(`import("/skein.js").then(({ Client, Gap }) => {
      globalThis.got = [];
      globalThis.states = [];
      const client = new Client("ws://" + location.host + "/ws", { minPause: 5, maxPause: 50 });
      client.on("state", ({ state }) => states.push(state));
      (async () => {
        for await (const item of client.subscribe("news")) got.push(item instanceof Gap ? "gap" : item.n);
      })();
      client.ping();
      globalThis.client = client;
    })`);
    await browser.until(`states.includes("connected")`);
    await browser.evaluate("client.ping().then(() => true)"); // the subscription was asked for before
    let published = 0;
    let over = false;
    const writing = publish_on(writer, "news", { until: () => over, published: (n) => (published = n) });
    for (const signal of ["SIGTERM", "SIGKILL", "SIGTERM"]) {
      await browser.until(`got.length >= ${published + 20}`);
      await server.stop(signal);
      await server.start();
    }
    await browser.until(`got.length >= ${published + 20}`);
    over = true;
    await writing;
    await browser.until(`got.length >= ${published}`);
    const got = await browser.evaluate("got");
    assert.deepEqual(got, Array.from({ length: published }, (_, i) => i + 1));
    assert.equal((await browser.evaluate("states")).filter((state) => state === "connected").length, 4);
    console.log(`the browser got ${got.length} publications, in order, over 4 connections`);
    await browser.evaluate("client.close()");
  } finally {
    writer.close();
    await server.stop("SIGKILL");
  }
}

/** The page of the examples: prices move, an order is filled, an announcement and a note arrive. */
async function shows(browser) {
  const server = await new Server(program, []).start();
  const submit = (form) => browser.evaluate(`document.getElementById("${form}").requestSubmit()`);
  try {
    await browser.visit(`http://127.0.0.1:${server.port}/?user=ada`);
    await browser.until(`document.getElementById("state").dataset.state === "open"`);
    await browser.until(`document.querySelectorAll("#prices article").length === 4`);
    await submit("order");
    await browser.until(`document.querySelector("#orders .status")?.dataset.status === "filled"`);
    await submit("announce");
    await browser.until(`document.getElementById("alerts").textContent.includes("Trading halts")`);
    await submit("notify");
    await browser.until(`document.getElementById("alerts").textContent.includes("to you: Call back")`);
    await browser.until(`document.getElementById("wire").textContent.includes("acked")`);
    await server.stop();
    await browser.until(`document.getElementById("state").dataset.state === "waiting"`);
    await server.start();
    await browser.until(`document.getElementById("state").dataset.state === "open"`);
    await submit("order");
    await browser.until(`[...document.querySelectorAll("#orders .status")].filter((s) => s.dataset.status === "filled").length === 2`);
    if (picture) writeFileSync(picture, await browser.picture());
    console.log("the page shows prices, orders and alerts, and comes back");
  } finally {
    await server.stop("SIGKILL");
  }
}

/** An authority, and a certificate for localhost that it has signed. */
function certificates_in(folder) {
  const [authority, authority_key, certificate, key] = ["ca.crt", "ca.key", "localhost.crt", "localhost.key"].map((name) => join(folder, name));
  const openssl = (...words) => execFileSync("openssl", words, { stdio: "ignore" });
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  openssl(...made, "-subj", "/CN=A test's authority", "-keyout", authority_key, "-out", authority);
  const signed = ["-CA", authority, "-CAkey", authority_key, "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
  openssl(...made, "-subj", "/CN=localhost", ...signed, "-keyout", key, "-out", certificate);
  return { authority, options: ["--tls-certificate", certificate, "--tls-key", key] };
}

/** The page over TLS, and the WebSocket with it. */
async function speaks_tls(browser, options) {
  const server = await new Server(program, options).start();
  try {
    await browser.visit(`https://localhost:${server.port}/?user=ada`);
    await browser.until(`document.getElementById("state").dataset.state === "open"`);
    assert.equal(await browser.evaluate(`performance.getEntriesByType("navigation")[0].nextHopProtocol`), "http/1.1");
    const stats = await browser.evaluate(`fetch("ws/stats").then((answer) => answer.json())`);
    assert.ok(stats.tls.handshakes >= 2 && stats.connections.open === 1);
    // Another name than the certificate's.
    await assert.rejects(browser.visit(`https://127.0.0.1:${server.port}/`), /ERR_CERT_COMMON_NAME_INVALID/);
    console.log("the page, and its WebSocket, over TLS, by an authority that the browser trusts");
  } finally {
    await server.stop("SIGKILL");
  }
}

/** Without that authority, neither. */
async function trusts_nobody_else(folder, options) {
  const server = await new Server(program, options).start();
  const browser = await Browser.open(join(folder, "stranger"));
  try {
    await assert.rejects(browser.visit(`https://localhost:${server.port}/`), /ERR_CERT_AUTHORITY_INVALID/);
    const opened = `new Promise((resolve) => {
      const socket = new WebSocket("wss://localhost:${server.port}/ws");
      socket.onopen = () => resolve("open");
      socket.onclose = ({ code }) => resolve(code);
    })`;
    assert.equal(await browser.evaluate(opened), 1006);
    console.log("neither to a browser that does not");
  } finally {
    await browser.close();
    await server.stop("SIGKILL");
  }
}

await with_folder(async (folder) => {
  const { authority, options } = certificates_in(folder);
  const browser = await Browser.open(join(folder, "friend"), authority);
  try {
    await recovers(browser, folder);
    await shows(browser);
    await speaks_tls(browser, options);
    await trusts_nobody_else(folder, options);
  } finally {
    await browser.close();
  }
});

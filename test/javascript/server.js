// A skein-server that a test starts and ends.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const patience = 20_000; // milliseconds

// A test that fails leaves none behind: whoever reads its output waits for all who may write there.
const running = new Set();
process.on("exit", () => running.forEach((each) => each.kill("SIGKILL")));

/** ES modules do not look where NODE_PATH says. */
export const load_ws = () => createRequire(import.meta.url)("ws");

/** What a promise gives, if it does in time. */
export function in_time(promise, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`waited too long for ${what}`)), patience)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Server {
  #program;
  #options;
  #process = null;
  port = 0;

  constructor(program, options) {
    this.#program = program;
    this.#options = options;
  }

  async start() {
    const process_ = spawn(this.#program, ["--port", String(this.port), "--log-level", "error", ...this.#options], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = process_;
    running.add(process_);
    process_.once("exit", () => running.delete(process_));
    let said = "";
    await in_time(
      new Promise((resolve, reject) => {
        process_.stdout.on("data", (text) => {
          said += text;
          const found = /listening on .*:(\d+)/.exec(said);
          if (!found) return;
          this.port = Number(found[1]);
          resolve();
        });
        process_.once("exit", (status) => reject(new Error(`the server ended with ${status}`)));
      }),
      "the server",
    );
    return this;
  }

  async stop(signal = "SIGTERM") {
    const process_ = this.#process;
    if (!process_ || process_.exitCode !== null || process_.signalCode !== null) return;
    const ended = new Promise((resolve) => process_.once("exit", resolve));
    process_.kill(signal);
    await in_time(ended, "the server's end");
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }
}

/** A folder for as long as the call takes. */
export async function with_folder(call) {
  const folder = mkdtempSync(join(tmpdir(), "skein-"));
  try {
    return await call(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Publishes 1, 2, 3 … until it is stopped, each once, whatever happens to the connection. */
export async function publish_on(client, channel, { until, published }) {
  for (let n = 1; !until(); n++) {
    for (;;) {
      try {
        await client.publish(channel, { n });
        break;
      } catch (error) {
        if (!["connection_lost", "timed_out"].includes(error.code)) throw error;
        // Nobody knows whether it was done; the history does.
        const { publications } = await client.history(channel, { limit: 1 });
        if (publications.at(-1)?.n === n) break;
      }
    }
    published(n);
  }
}

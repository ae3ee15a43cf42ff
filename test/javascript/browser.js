// A headless Chromium, spoken to over its own protocol.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { in_time, load_ws } from "./server.js";

export const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
export const certutil = ["/usr/bin/certutil"].find(existsSync);

/** Where Chromium looks for authorities of the user's own: a database of NSS in the home folder. */
function trust(authority, home) {
  const database = join(home, ".pki", "nssdb");
  mkdirSync(database, { recursive: true });
  const call = (...words) => execFileSync(certutil, ["-d", `sql:${database}`, ...words], { stdio: "ignore" });
  call("-N", "--empty-password");
  call("-A", "-t", "C,,", "-n", "a test's authority", "-i", authority);
}

export class Browser {
  #process;
  #socket;
  #session;
  #last = 0;
  #calls = new Map();

  /** `home`: an empty folder. `authority`: the file of a certificate whose signature is trusted, beside the usual ones. */
  static async open(home, authority) {
    const browser = new Browser();
    const profile = join(home, "profile");
    if (authority) trust(authority, home);
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
    browser.#process = spawn(chromium, [...flags, "about:blank"], { stdio: "ignore", env: { ...process.env, HOME: home } });
    // Chromium says where it listens in a file, and nowhere else if nobody reads what it prints.
    const where = join(profile, "DevToolsActivePort");
    const written = async () => {
      while (!existsSync(where) || !readFileSync(where, "utf8").includes("\n/")) await pause(20);
      return readFileSync(where, "utf8").split("\n");
    };
    const [port, path] = await in_time(written(), "Chromium");
    const WebSocket = load_ws();
    browser.#socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    browser.#socket.on("message", (text) => browser.#answered(JSON.parse(text)));
    await in_time(new Promise((resolve) => browser.#socket.on("open", resolve)), "Chromium's socket");
    const { targetId } = await browser.#call("Target.createTarget", { url: "about:blank" });
    browser.#session = (await browser.#call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    return browser;
  }

  async close() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#call("Browser.close").catch(() => {});
    await in_time(ended, "Chromium's end").catch(() => this.#process.kill("SIGKILL"));
  }

  async visit(url) {
    await this.#call("Page.enable");
    const { errorText } = await this.#call("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until("document.readyState === 'complete' && location.href !== 'about:blank'");
  }

  /** What an expression, or the promise that it is, comes to in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits in the page until an expression holds. */
  until(condition) {
    return in_time(
      this.evaluate(`new Promise((resolve) => {
        const look = () => (${condition}) ? resolve(true) : setTimeout(look, 20);
        look();
      })`),
      condition,
    );
  }

  async picture() {
    return Buffer.from((await this.#call("Page.captureScreenshot")).data, "base64");
  }

  #call(method, params = {}) {
    const id = ++this.#last;
    this.#socket.send(JSON.stringify({ id, method, params, sessionId: this.#session }));
    return in_time(new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject })), method);
  }
  #answered({ id, result, error }) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) call?.reject(new Error(error.message));
    else call?.resolve(result);
  }
}

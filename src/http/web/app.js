// The page of the example modules. docs/reference/desk.md has the messages, skein.js does the talking.
import { Client, Gap } from "./skein.js";

const $ = (id) => document.getElementById(id);

// ---- who is here

// The desk believes everybody: a name of one's own is enough to have orders of one's own.
function my_name() {
  const asked = new URLSearchParams(location.search).get("user");
  const kept = asked || localStorage.getItem("skein-user") || `trader-${Math.floor(Math.random() * 9000) + 1000}`;
  localStorage.setItem("skein-user", kept);
  return kept;
}

const me = my_name();

// ---- the connection

// Writes down what goes over the wire.
class LoggedWebSocket extends WebSocket {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({ data }) => data.includes('"market_data"') || log_wire("in", data));
  }
  send(text) {
    log_wire("out", text);
    super.send(text);
  }
}

const address = new URL("ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
address.search = new URLSearchParams({ user: me });
const client = new Client(address.href, { WebSocket: LoggedWebSocket, connect: false });

let countdown = null;

client.on("state", ({ state, reason, pause }) => {
  clearInterval(countdown);
  if (reason && state !== "connecting") note(`closed with ${reason}`);
  switch (state) {
    case "connected":
      show_state("open", `connected as ${me}`);
      note("connected");
      return start();
    case "connecting":
      return show_state("connecting", "connecting…");
    case "waiting":
      return count_down(pause);
    case "closed":
      return show_state("ended", `closed with ${reason}; reload to try again`);
  }
});

function count_down(left) {
  const tell = () => show_state("waiting", `connecting again in ${Math.ceil(left / 1000)} s`);
  tell();
  countdown = setInterval(() => {
    left = Math.max(0, left - 250);
    tell();
  }, 250);
}

function show_state(state, text) {
  $("state").dataset.state = state;
  $("state").value = text;
  for (const button of document.querySelectorAll("button")) button.disabled = state !== "open";
}

// What a request failed with is on the wire's list, too.
const ask = (request) => client.request(request).catch((error) => note(`${request.type}: ${error.message}`));

// How things stand, at the beginning of each connection; what follows comes by itself.
async function start() {
  for (const each of prices.values()) each.sequence = -1; // a server that began anew counts from the start
  const quotes = await ask({ type: "get_prices" });
  quotes?.prices.forEach(show_price);
  if (following) return;
  const mine = await ask({ type: "get_orders" });
  mine?.orders.forEach(show_order);
  if (mine && !following) follow(mine.topic);
}

let following = false;

async function follow(topic) {
  following = true;
  try {
    for await (const item of client.subscribe(topic)) {
      if (item instanceof Gap) {
        forget_orders();
        (await ask({ type: "get_orders" }))?.orders.forEach(show_order);
      } else {
        show_order(item);
      }
    }
  } catch (error) {
    note(`${topic}: ${error.message}`);
  }
  following = false;
}

client.subscribe("market.*").on("message", show_price);
client.on("message", (what) => {
  if (what.type === "alert") show_alert(what.text);
  if (what.type === "note") show_alert(`to you: ${what.text}`);
});

// The server's memory of them has gone.
function forget_orders() {
  for (const row of orders.values()) {
    if (row.done) continue;
    row.status.textContent = "unknown";
    row.status.dataset.status = "unknown";
  }
  orders.clear();
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Puts an element first and keeps the list short; a placeholder goes.
function put_first(list, child, most) {
  list.querySelector(":scope > .empty")?.remove();
  list.prepend(child);
  while (list.children.length > most) list.lastElementChild.remove();
}

// ---- market data

const prices = new Map();
const history_length = 60;

function price_tile(symbol) {
  const tile = {
    sequence: -1,
    history: [],
    change: element("span", { className: "change" }),
    value: element("div", { className: "value" }),
    place: element("span", { className: "sequence" }),
    line: document.createElementNS("http://www.w3.org/2000/svg", "polyline"),
    chart: document.createElementNS("http://www.w3.org/2000/svg", "svg"),
  };
  tile.chart.setAttribute("viewBox", "0 0 100 30");
  tile.chart.setAttribute("preserveAspectRatio", "none");
  tile.chart.setAttribute("aria-hidden", "true");
  tile.chart.append(tile.line);
  const head = element("header", {}, symbol, tile.change);
  $("prices").querySelector(".empty")?.remove();
  const now = element("div", { className: "now" }, tile.value, tile.place);
  $("prices").append(element("article", { className: "price" }, head, now, tile.chart));
  prices.set(symbol, tile);
  return tile;
}

function show_price({ symbol, price, sequence }) {
  const tile = prices.get(symbol) ?? price_tile(symbol);
  if (sequence <= tile.sequence) return;
  const before = tile.history.at(-1) ?? price;
  tile.sequence = sequence;
  tile.history.push(price);
  if (tile.history.length > history_length) tile.history.shift();

  tile.value.textContent = price.toFixed(2);
  tile.place.textContent = `#${sequence}`;
  if (price !== before) flash(tile.value, price > before ? "up" : "down");

  const since = (price / tile.history[0] - 1) * 100;
  const direction = Math.abs(since) < 0.005 ? "flat" : since < 0 ? "down" : "up";
  const arrow = { flat: "", down: "▼ ", up: "▲ " }[direction];
  tile.change.textContent = `${arrow}${Math.abs(since).toFixed(2)} %`;
  tile.change.className = `change ${direction}`;
  tile.chart.setAttribute("class", direction);
  tile.line.setAttribute("points", points_of(tile.history));
}

// The new colour comes at once and fades away.
function flash(what, colour) {
  what.className = `value ${colour}`;
  requestAnimationFrame(() => requestAnimationFrame(() => (what.className = "value")));
}

function points_of(history) {
  const least = Math.min(...history);
  const range = Math.max(...history) - least || 1;
  const step = 100 / Math.max(history.length - 1, 1);
  return history.map((price, i) => `${(i * step).toFixed(1)},${(28 - ((price - least) / range) * 26).toFixed(1)}`).join(" ");
}

// ---- orders

const orders = new Map();

function order_row(order) {
  const row = {
    sequence: 0,
    done: false,
    filled: element("td", { className: "number" }),
    progress: element("progress", { max: order.quantity, value: 0 }),
    status: element("td", { className: "status" }),
  };
  const what = `${order.side} ${order.quantity.toLocaleString("en")} ${order.symbol}`;
  const label = element("td", {}, what, element("small", {}, `#${order.order_id}`));
  put_first($("orders"), element("tr", {}, label, row.filled, element("td", {}, row.progress), row.status), 6);
  orders.set(order.order_id, row);
  return row;
}

function show_order(order) {
  const row = orders.get(order.order_id) ?? order_row(order);
  if (order.sequence <= row.sequence) return;
  row.sequence = order.sequence;
  row.done = order.status === "filled";
  row.filled.textContent = order.filled.toLocaleString("en");
  row.progress.value = order.filled;
  row.status.textContent = order.status.replace("_", " ");
  row.status.dataset.status = order.status;
}

$("order").onsubmit = (event) => {
  event.preventDefault();
  ask({
    type: "place_order",
    symbol: $("order-symbol").value,
    side: $("order-side").value,
    quantity: $("order-quantity").valueAsNumber,
  });
};

// ---- notifications

function show_alert(text) {
  const time = element("time", {}, new Date().toLocaleTimeString("en-GB"));
  put_first($("alerts"), element("li", {}, time, text), 5);
}

function show_report(report) {
  for (const place of document.querySelectorAll("[data-count]")) place.textContent = report[place.dataset.count];
  $("report").hidden = false;
}

$("announce").onsubmit = async (event) => {
  event.preventDefault();
  const report = await ask({ type: "announce", text: $("announce-text").value });
  if (report) show_report(report);
};

$("notify").onsubmit = async (event) => {
  event.preventDefault();
  const report = await ask({ type: "notify", user: $("notify-user").value, text: $("notify-text").value });
  if (report) show_report(report);
};

// ---- on the wire

function log_wire(direction, text) {
  const arrow = element("b", {}, direction === "out" ? "→" : "←");
  put_first($("wire"), element("li", { className: direction, title: text }, arrow, text), 50);
}

function note(text) {
  put_first($("wire"), element("li", { className: "note" }, element("b", {}, "·"), text), 50);
}

// ---- the server's own numbers

function duration(seconds) {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

async function show_stats() {
  try {
    const stats = await (await fetch("ws/stats")).json();
    const { connections, messages, dropped } = stats;
    const lost = dropped.overflow + dropped.conflated + dropped.discarded;
    const count = (n, what) => `${n.toLocaleString("en")} ${what}`;
    $("stats").textContent = [
      count(connections.open, connections.open === 1 ? "connection" : "connections"),
      count(messages.out, "messages sent"),
      count(lost, "not sent"),
      `up ${duration(stats.uptime_seconds)}`,
    ].join(" · ");
  } catch {
    $("stats").textContent = "";
  }
}

$("notify-user").value = me;
client.reconnect();
show_stats();
setInterval(show_stats, 2000);

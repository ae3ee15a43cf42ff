// The page of the example modules: one WebSocket to /ws of this host. docs/reference/gateway.md has the messages.
"use strict";

const $ = (id) => document.getElementById(id);

// ---- the connection

const reconnect = { first: 500, most: 15_000 }; // milliseconds
const last_reconnectable_code = 4499; // a close code of 4500 or more says: do not come back

let socket = null;
let attempts = 0;

function connect() {
  show_state("connecting", "connecting…");
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);

  socket.onopen = () => {
    attempts = 0;
    show_state("open", "connected");
    note("connected");
    forget_what_was();
    send({ type: "subscribe", channels: ["orders", "market_data"] });
  };
  socket.onmessage = (event) => receive(event.data);
  socket.onclose = (event) => {
    const why = `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`;
    note(why);
    if (event.code > last_reconnectable_code) {
      show_state("ended", `${why}; reload to try again`);
    } else {
      come_back();
    }
  };
}

// Waits longer after each failure, and never exactly as long as the next page does.
function come_back() {
  const longest = Math.min(reconnect.most, reconnect.first * 2 ** attempts);
  attempts += 1;
  let left = longest / 2 + Math.random() * (longest / 2);
  const tell = () => show_state("waiting", `connecting again in ${Math.ceil(left / 1000)} s`);
  tell();
  const ticking = setInterval(() => {
    left -= 250;
    if (left > 0) return tell();
    clearInterval(ticking);
    connect();
  }, 250);
}

function send(what) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const text = JSON.stringify(what);
  socket.send(text);
  log_wire("out", text);
}

function receive(text) {
  const what = JSON.parse(text);
  if (what.type !== "market_data") log_wire("in", text);
  switch (what.type) {
    case "market_data":
      return show_price(what);
    case "order_update":
      return show_order(what);
    case "snapshot":
      what.prices?.forEach(show_price);
      what.orders?.forEach(show_order);
      return;
    case "alert":
      return show_alert(what.text);
    case "announced":
      return show_report(what);
  }
}

function show_state(state, text) {
  $("state").dataset.state = state;
  $("state").value = text;
  for (const button of document.querySelectorAll("button")) button.disabled = state !== "open";
}

// A new connection counts from the start: sequences begin again, and old orders are not reported any more.
function forget_what_was() {
  for (const each of prices.values()) each.sequence = -1;
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
  send({
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

$("announce").onsubmit = (event) => {
  event.preventDefault();
  send({ type: "announce", text: $("announce-text").value });
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

connect();
show_stats();
setInterval(show_stats, 2000);

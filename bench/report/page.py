#!/usr/bin/env python3
"""Makes one self-contained HTML page of the results of a comparison: tables, and plots as SVG that follows the reader's
choice of light or dark. `--svg` also writes the main plots as files of their own, for the documentation."""

import argparse
import datetime
import html
import json
import pathlib
import sys

import plots
from plots import microseconds, plain_time, quantity, significant, size_of
from results import Results

HERE = pathlib.Path(__file__).resolve().parent
UNITS = {"us/message": "message", "us/delivery": "delivery", "us/connection": "connection", "us/return": "return"}


def escaped(text):
    return html.escape(str(text), quote=True)


def times(multiple):
    return f"{significant(multiple)}×"


def show_cost(results, scenario):
    return size_of if results.scenarios[scenario]["metric"].startswith("server_bytes") else microseconds


def cost_entries(results, scenario):
    """A lane for each server, the cheapest first."""
    show = show_cost(results, scenario)
    key = results.scenarios[scenario]["metric"]
    entries = []
    for server in results.servers():
        value = results.cost(scenario, server)
        if not value or value <= 0:
            continue
        multiple = results.multiple(scenario, server)
        text = show(value) + (f" · {times(multiple)}" if multiple and show is microseconds else "") + results.marks(scenario, server)[-1:].replace(
            "*", "")
        tip = f"{results.labels[server]}: {show(value)}, {results.spread(scenario, server, key, show)}"
        entries.append((server, results.labels[server], value, text, tip))
    return sorted(entries, key=lambda entry: entry[2])


def rate_entries(results, scenario):
    key = results.scenarios[scenario]["rate"]
    entries = []
    for server in results.servers():
        value = results.median(scenario, server, key)
        if not value:
            continue
        tip = f"{results.labels[server]}: {value:,.0f}/s, " + results.spread(scenario, server, key, quantity)
        entries.append((server, results.labels[server], value, quantity(value) + results.marks(scenario, server), tip))
    return sorted(entries, key=lambda entry: -entry[2])


def cost_plot(results, scenario):
    entries = cost_entries(results, scenario)
    what = UNITS.get(results.scenarios[scenario]["unit"], "")
    return plots.lanes(f"cost-{scenario}", f"Server CPU for each {what}: {results.scenarios[scenario]['about']}",
                       entries, f"server CPU for each {what} (log) · × bare loop", plain_time,
                       results.cost(scenario, "raw"))


def rate_plot(results, scenario):
    what = results.scenarios[scenario]["rate"].removesuffix("_per_s")
    return plots.lanes(f"rate-{scenario}", f"{what} for each second: {results.scenarios[scenario]['about']}",
                       rate_entries(results, scenario), f"{what} for each second (log)")


def time_plot(results, scenario, key, scale, label, axis, text_of=None, room=0.42):
    entries = []
    for server in results.servers():
        value = results.median(scenario, server, key)
        if value:
            shown = microseconds(value * scale)
            tip = f"{results.labels[server]}: {shown}, " + results.spread(
                scenario, server, key, lambda v: microseconds(v * scale))
            entries.append((server, results.labels[server], value * scale,
                            text_of(server, shown) if text_of else shown, tip))
    return plots.lanes(f"{key}-{scenario}", label, sorted(entries, key=lambda entry: entry[2]), axis, plain_time,
                       room=room)


def return_plot(results, scenario):
    return time_plot(results, scenario, "round_median_ms", 1000, "Time until all connections are back",
                     "until all are back (log)")


def timetable_plot(results):
    return time_plot(results, "fanout-rate", "last_delivery_p99_us", 1,
                     "99th percentile of the time from when a message was due to the last of 1,000 subscribers",
                     "99 % took no longer (log)")


def slow_plot(results, scenario):
    def text(server, shown):
        before = results.median(scenario, server, "before_p99_us")
        return f"{shown}, before {microseconds(before)}" if before else shown
    return time_plot(results, scenario, "during_p99_us", 1, "99th percentile of those that read, during the stall",
                     "99 % took no longer, during the stall (log)", text, 0.8)


def slow_table(results, scenario):
    rows = []
    for server in results.servers():
        for report in results.reports(scenario, server)[:1]:
            codes = ", ".join(f"{count}× {code}" for code, count in report.get("slow_close_codes", {}).items())
            rows.append(f'<tr><th><i style="background:var(--s-{server})"></i>{escaped(results.labels[server])}</th>'
                        f'<td>{report.get("slow_closed_by_server", 0)} of {report.get("slow_subscribers", 0)}</td>'
                        f"<td>{escaped(codes)}</td><td>{report.get('slow_caught_up', 0)}</td>"
                        f"<td>{report.get('slow_not_caught_up', 0)}</td>"
                        f"<td>{report.get('slow_deliveries_after_stall', 0):,}</td>"
                        f"<td>{report.get('slow_deliveries_skipped', 0):,}</td>"
                        f'<td>{size_of(report.get("server_anonymous_bytes", 0))}</td></tr>')
    if not rows:
        return ""
    return (f'<figure class="wide"><figcaption><b>What became of the slow ones: {escaped(results.scenarios[scenario]["title"])}</b><span>1006: ended without a close frame</span></figcaption>'
            '<div class="scroll"><table><thead><tr><th></th><th>closed</th><th>with</th><th>caught up</th><th>did not</th>'
            f"<th>deliveries after<br>the stall</th><th>skipped</th><th>memory of the<br>server then</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div></figure>")


def sweep(results, scenarios, value_of, show):
    """Server -> points, over scenarios that differ in one number."""
    series = {}
    for server in results.servers():
        points = []
        for scenario in sorted(scenarios, key=lambda s: s["x"]):
            value = value_of(scenario, server)
            if value:
                points.append((scenario["x"], value,
                               f"{results.labels[server]}, {scenario['title']}: {show(value)}"))
        if len(points) > 1:
            series[server] = points
    return series


def size_label(value):
    return f"{value / 1024:g} KiB" if value >= 1024 else f"{value:g} B"


def subscribers_sweep(results):
    """The usual fan-out is one of the points."""
    scenarios = results.of_group("subscribers")
    usual = results.scenarios.get("fanout")
    return scenarios + [{**usual, "x": 1000, "title": "1,000 subscribers"}] if scenarios and usual else scenarios


def growth_plots(results):
    """(section, plots)"""
    subscribers, sizes = subscribers_sweep(results), results.of_group("size")
    sections = {"subscribers": [], "size": []}
    if len(subscribers) > 1:
        cost = sweep(results, subscribers, lambda s, server: results.cost(s["name"], server), microseconds)
        sections["subscribers"].append(plots.curves(
            "subscribers-cost", "Server CPU for each delivery against the number of subscribers", cost, "subscribers",
            "server CPU for each delivery", lambda v: f"{v:,.0f}", plain_time))
        wait = sweep(results, subscribers, lambda s, server: results.median(s["name"], server, "last_delivery_p50_us"),
                     microseconds)
        sections["subscribers"].append(plots.curves(
            "subscribers-last", "Time until the last subscriber has it against the number of subscribers", wait,
            "subscribers", "from publishing to the last subscriber, median", lambda v: f"{v:,.0f}", plain_time))
    if len(sizes) > 1:
        cost = sweep(results, sizes, lambda s, server: results.cost(s["name"], server), microseconds)
        sections["size"].append(plots.curves(
            "size-cost", "Server CPU for each echo against the size of the message", cost, "size of the message",
            "server CPU for each message", size_label, plain_time))

        def payload(scenario, server):
            rate = results.median(scenario["name"], server, scenario["rate"])
            return rate * scenario["x"] / 1e6 if rate else None
        through = sweep(results, sizes, payload, lambda v: f"{significant(v)} MB/s")
        sections["size"].append(plots.curves(
            "size-through", "Payload echoed for each second against the size of the message", through,
            "size of the message", "payload echoed each second, MB", size_label))
    return sections


def latency_series(results, scenario):
    if scenario not in results.scenarios:
        return {}
    series = {server: results.distribution(scenario, server) for server in results.servers()}
    return {server: points for server, points in series.items() if len(points) > 1}


LATENCIES = {
    "echo": "from sending to the echo",
    "echo-depth-16": "from sending to the echo",
    "fanout": "from publishing to the last of 1,000",
    "fanout-window-64": "from publishing to the last of 1,000",
    "fanout-rate": "from when it was due to the last of 1,000",
    "churn": "from connecting to the echo",
    "slow": "from when it was due to each that reads",
}


def latency_plot(results, scenario):
    series = latency_series(results, scenario)
    if not series:
        return None
    what = LATENCIES[scenario]
    return plots.latency(f"latency-{scenario}", f"Percentiles of the time {what}: {results.scenarios[scenario]['about']}",
                         series, what)


def latency_cards(results, *names):
    for name in names:
        plot = latency_plot(results, name)
        if plot:
            yield figure(results.scenarios[name]["title"], results.scenarios[name]["about"], plot)


def figure(title, about, plot):
    drawing, label = plot
    return (f'<figure><figcaption><b>{escaped(title)}</b><span>{escaped(about)}</span></figcaption>'
            f"{drawing.finish(label)}</figure>")


def section(identity, title, lead, figures):
    figures = list(figures)
    if not figures:
        return ""
    return (f'<section id="{identity}"><h2>{escaped(title)}</h2><p class="lead">{lead}</p>'
            f'<div class="cards">{"".join(figures)}</div></section>')


def summary_table(results):
    scenarios = results.of_group("core", "rate", "idle", "size", "subscribers", "life", "slow")
    best = {s["name"]: min((results.cost(s["name"], server) for server in results.servers()
                            if server != "raw" and results.pinned[server] and (results.cost(s["name"], server) or 0) > 0), default=None)
            for s in scenarios}
    rows = []
    for scenario in scenarios:
        name = scenario["name"]
        cells = []
        for server in results.servers():
            cost = results.cost(name, server)
            if cost is None:
                cells.append(f'<td class="none">{"not run" if results.not_run(name, server) else "–"}</td>')
                continue
            multiple = results.multiple(name, server)
            marks = results.marks(name, server).replace("*", "")
            first = times(multiple) if multiple else "1×"
            kind = ' class="best"' if cost == best[name] else ""
            cells.append(f"<td{kind}><b>{first}{marks}</b><span>{show_cost(results, name)(cost)}</span></td>")
        rows.append(f'<tr><th scope="row">{escaped(scenario["title"])}<span>{escaped(scenario["about"])}</span></th>'
                    f'{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col" data-s="{server}"><i style="background:var(--s-{server})"></i>'
                   f"{escaped(results.labels[server])}</th>" for server in results.servers())
    return (f'<div class="scroll"><table class="summary"><thead><tr><th scope="col">Multiple of the bare loop, and '
            f'cost</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def details(results):
    out = []
    for name, scenario in results.scenarios.items():
        show = show_cost(results, name)
        what = scenario["rate"].removesuffix("_per_s")
        rows = []
        for server in results.servers():
            if results.not_run(name, server):
                rows.append(f"<tr><th>{escaped(results.labels[server])}</th><td colspan=10>not run</td></tr>")
            cost = results.cost(name, server)
            if cost is None:
                continue
            rate = results.median(name, server, scenario["rate"]) if scenario["rate"] else None
            multiple = results.multiple(name, server)
            spread = results.values(name, server, scenario["metric"])
            busy = results.median(name, server, "server_cpu_percent")
            cells = [show(cost), f"{show(min(spread))} – {show(max(spread))}", times(multiple) if multiple else "",
                     f"{rate:,.0f}" + ("*" if "*" in results.marks(name, server) else "") if rate else "",
                     f"{busy:.0f} %" if busy is not None else ""]
            for percent in (50, 90, 99, 99.9) if scenario["latency"] else ():
                value = results.percentile(name, server, percent)
                cells.append(microseconds(value) if value else "")
            rows.append(f'<tr><th><i style="background:var(--s-{server})"></i>{escaped(results.labels[server])}'
                        f'{results.marks(name, server).replace("*", "")}</th>' +
                        "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        if not rows:
            continue
        unit = UNITS.get(scenario["unit"], "connection")
        of = "variant of " + scenario["baseline"] if scenario["baseline"] else "bare loop"
        head = [f"cost for each {unit}", "least – most", f"× {of}", f"{what}/s" if what else "", "server CPU",
                *(("p50", "p90", "p99", "p99.9") if scenario["latency"] else ())]
        window = f", {scenario['seconds']:g} s" if scenario["timed"] else ""
        out.append(f"<details><summary><b>{escaped(name)}</b> {escaped(scenario['about'])}"
                   f"<span>{rounds_of(scenario)}{window}</span></summary>"
                   f'<div class="scroll"><table><thead><tr><th></th>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead>'
                   f'<tbody>{"".join(rows)}</tbody></table></div></details>')
    return "".join(out)


def rounds_of(scenario):
    return "1 round" if scenario["rounds"] == 1 else f"{scenario['rounds']} rounds"


def tiles(results):
    """What a reader who reads nothing else should see, for Skein on one core."""
    out = []
    for name, what in (("echo", "echo, one at a time"), ("echo-depth-16", "echo, 16 outstanding"),
                       ("fanout", "1,000 subscribers, one at a time"),
                       ("fanout-window-64", "1,000 subscribers, 64 outstanding"), ("idle", "each idle connection")):
        own = results.cost(name, "skein") if name in results.scenarios else None
        if not own:
            continue
        show = show_cost(results, name)
        others = sorted((results.cost(name, server), results.labels[server]) for server in results.servers()
                        if server not in ("raw", "skein", "skein-all") and (results.cost(name, server) or 0) > 0)
        multiple = results.multiple(name, "skein")
        lines = [f"{times(multiple)} the bare loop"] if multiple else []
        if len(others) > 1:
            lines.append(f"others: {significant(others[0][0] / own)} to {significant(others[-1][0] / own)}× Skein's")
        unit = {"us/message": " a message", "us/delivery": " a delivery"}.get(results.scenarios[name]["unit"], "")
        out.append(f"<div><span>{escaped(what)}</span><b>{show(own)}<small>{unit}</small></b>"
                   f'{"".join(f"<em>{escaped(line)}</em>" for line in lines)}</div>')
    return f'<div class="tiles">{"".join(out)}</div>' if out else ""


def legend(results):
    chips = []
    for server in results.servers():
        light = plots.LOOK[server]
        dash = "" if light[3] == "-" else f'stroke-dasharray="{"5 3" if server == "raw" else "2 2"}"'
        chips.append(f'<button type="button" data-chip="{server}" aria-pressed="true"><svg viewBox="0 0 26 12" '
                     f'aria-hidden="true"><line x1="1" x2="25" y1="6" y2="6" stroke="var(--s-{server})" '
                     f'stroke-width="2.4" {dash}/>{plots_marker(light[2], server)}</svg>'
                     f"{escaped(results.labels[server])}</button>")
    return f'<nav class="legend" aria-label="Servers; press one to hide or show it">{"".join(chips)}</nav>'


def plots_marker(kind, server):
    shapes = {
        "o": '<circle cx="13" cy="6" r="3.8"/>', "s": '<rect x="9.7" y="2.7" width="6.6" height="6.6"/>',
        "D": '<path d="M13 1.6 17.4 6 13 10.4 8.6 6z"/>', "^": '<path d="M13 1.8 17.2 9.8H8.8z"/>',
        "v": '<path d="M13 10.2 17.2 2.2H8.8z"/>', "<": '<path d="M8.8 6 16.8 1.8v8.4z"/>',
        ">": '<path d="M17.2 6 9.2 1.8v8.4z"/>',
        "P": '<path d="M11.3 1.8h3.4v2.5h2.5v3.4h-2.5v2.5h-3.4V7.7H8.8V4.3h2.5z"/>',
        "X": '<path d="m10.2 1.6 2.8 2.8 2.8-2.8 1.6 1.6L14.6 6l2.8 2.8-1.6 1.6L13 7.6l-2.8 2.8-1.6-1.6L11.4 6 8.6 3.2z"/>',
    }
    return f'<g fill="var(--s-{server})">{shapes.get(kind, shapes["o"])}</g>'


NOTES = """
<ul>
<li><b>What is counted.</b> CPU time of all threads of the server in the measured window, in nanoseconds from the scheduler,
divided by the messages or deliveries of that window. It includes the kernel's share: on loopback a sender pays for the
receiver's TCP work too, about 4 to 6 µs for each system call that sends, whatever the program does.</li>
<li><b>The bare loop</b> is epoll, one <code>recv</code> and one <code>send</code> for each event or delivery, with no
timeouts, no UTF-8 check and no batching of several messages. It is the floor for one message at a time, and not for many:
a server that writes several messages in one system call gets below it.</li>
<li><b>Closed loads.</b> Except on a timetable, each connection keeps a number of messages outstanding and one that returns sends
the next. The latency is that of a server at full load; a server that is faster is asked more often. Latencies of the two
kinds are not to be compared.</li>
<li><b>One machine.</b> Server and load share it, one core each, over loopback. No network card, no network, no loss. Runs differ
by 15 to 30 %: compare within a row, and take no difference below a tenth for one.</li>
<li><b>Skein on all cores</b> is pinned to none and shares them with the load generator. With two cores its rate says little
about a machine on which the load comes from outside; it is here so that the cost of several shards can be seen. The other
servers would gain too from more cores where they can use them (Go can; the others need several processes).</li>
<li><b>Servers of one page</b> do not do the same. Skein, Beast and ws and others have timeouts or pings running, and check
UTF-8; the bare loop does neither. gorilla and websockets are for languages in which a program costs more and takes less
to write. Each peer is a small server of <code>bench/peers</code>, written as its own documentation recommends, without
compression, TLS or logging; anyone who can make one faster is welcome to.</li>
<li><b>Memory</b> is anonymous memory, which the server got from the system, over what it had before the connections came, without
kernel buffers. A collector (Go, Node, Python) may hold more than it needs.</li>
<li><b>Subscribers that do not read.</b> The kernel takes a few MiB for each of them before a server notices anything. After that
Skein and the textbook server close a subscriber with too much waiting, gorilla one with 256 messages waiting; the others
keep what is waiting in memory, up to 64 MiB here, and Python's broadcast without a limit.</li>
<li><b>What was checked.</b> Every echo by number and size, one in 64 byte by byte; every subscriber must see each message once and
in order. A figure with <b>!</b> comes from a run in which something was lost; <b>*</b> marks a rate at which the load
generator had no time left while the server had: the cost holds, the rate is the load generator's.</li>
</ul>
"""


def render(results):
    data = results.data
    machine, when = data["machine"], datetime.datetime.fromisoformat(data["date"])
    growth = growth_plots(results)
    core = [s["name"] for s in results.of_group("core")]
    life = results.of_group("life")
    slow = results.of_group("slow")
    by_name = results.scenarios

    def cards(names, plot):
        return [figure(by_name[name]["title"], by_name[name]["about"], plot(results, name)) for name in names
                if len(cost_entries(results, name)) > 1]

    body = [
        section("cost", "CPU for each message", "What the server spends on one message or delivery. The dashed line is "
                "the bare loop; the figure after the value is the multiple of it. Left is better.",
                cards(core, cost_plot)),
        section("throughput", "Throughput", "How many the server got through each second with one core to itself. Right "
                "is better.", cards(core, rate_plot)),
        section("latency", "Latency at full load", "The whole distribution: the further right, the rarer. Lower is better. Each "
                "message that returns sends the next, so this is the latency of a server that is busy all the time.",
                latency_cards(results, "echo", "echo-depth-16", "fanout", "fanout-window-64")),
        section("timetable", "Latency on a timetable", "40 messages a second to 1,000 subscribers, whether the server is quick or "
                "slow. The time counts from when a message was due until the last subscriber has it.",
                ([figure("Until the last of 1,000 has it", "99th percentile", timetable_plot(results))]
                 if len(latency_series(results, "fanout-rate")) > 1 else []) +
                list(latency_cards(results, "fanout-rate"))),
        section("subscribers", "More subscribers", "What a delivery costs, and how long the last subscriber waits, as the "
                "audience grows: one message of 128 B outstanding.",
                (figure(t, "128 B, 1 outstanding", p) for t, p in
                 zip(("Cost of a delivery", "Until the last one has it"), growth["subscribers"]))),
        section("size", "Larger messages", "Echo with 16 clients, one message outstanding each.",
                (figure(t, "16 clients, 1 outstanding", p) for t, p in
                 zip(("Cost of a message", "Payload echoed"), growth["size"]))),
    ]
    if "idle" in by_name and len(cost_entries(results, "idle")) > 1:
        body.append(section(
            "memory", "An idle connection", "What a connection holds that says nothing, and how quickly 10,000 of them can come.",
            [figure("Memory of a connection", by_name["idle"]["about"], plots.bars(
                "idle-memory", "Anonymous memory of an idle connection", cost_entries(results, "idle"),
                "anonymous memory for each connection", size_label)),
             figure("Handshakes", "10,000 connections, 64 handshakes at a time", rate_plot(results, "idle"))]))
    body.append(section(
        "life", "Coming and going", "Connections that live for one message, and a thousand that are cut and return at the same "
        "moment.",
        [figure(s["title"], s["about"], plot(results, s["name"])) for s in life
         for plot in ((cost_plot, rate_plot) if s["rate"] else (return_plot,)) if len(cost_entries(results, s["name"])) > 1] +
        list(latency_cards(results, "churn"))))
    body.append(section(
        "slow", "Subscribers that do not read", "What those that read notice while a tenth of the audience stalls, and what "
        "each server does about it: a slow subscriber is closed, or its messages are kept for it in memory.",
        [figure(s["title"], "99th percentile of those that read", slow_plot(results, s["name"])) for s in slow
         if len(cost_entries(results, s["name"])) > 1] + list(latency_cards(results, "slow")) +
        [slow_table(results, s["name"]) for s in slow]))

    problems = "".join(f"<li><b>{escaped(s['name'])}, {escaped(label)}</b>: {bad} of {all_} runs: {escaped(text)}</li>"
                       for s, label, bad, all_, text in results.problems())
    problems = f"<h3>Runs that lost something</h3><ul>{problems}</ul>" if problems else \
        "<p>Nothing was lost in any run.</p>"
    facts = {
        "Processor": f"{machine['processor']}, {machine['processors']} cores" + (
            ", in a virtual machine" if machine.get("hypervisor") else ""),
        "Memory": f"{machine['memory_gib']} GiB", "System": f"{machine['system']}, Linux {machine['kernel']}",
        "Rounds": f"{data['rounds']}, alternating servers; windows of {data['seconds']:g} s after {data['warmup']:g} s",
        "Scheduling weight": "highest" if machine["own_weight"] else "usual: expect more noise",
        "Command": data["command"], **data["versions"],
    }
    table = "".join(f"<tr><th>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in facts.items())
    links = "".join(f'<a href="#{identity}">{title}</a>' for identity, title in (
        ("summary", "Summary"), ("cost", "CPU"), ("throughput", "Throughput"), ("latency", "Latency"), ("timetable", "On a timetable"),
        ("subscribers", "Subscribers"), ("size", "Size"), ("memory", "Memory"), ("life", "Churn"), ("slow", "Slow readers"),
        ("figures", "All figures"), ("notes", "Notes")) if f'id="{identity}"' in "".join(body) or identity in (
            "summary", "figures", "notes"))
    return (HERE / "page.html").read_text().replace("/*light*/", plots.properties(False)).replace(
        "/*dark*/", plots.properties(True)).replace("<!--content-->", f"""
<header><h1>What a message costs</h1>
<p class="sub">Skein beside other WebSocket servers: {escaped(machine['processor'])}, {machine['processors']} cores,
{escaped(machine['system'])}; {when:%-d %B %Y, %H:%M}. The server has one core, the load generator the other. Medians of
{data['rounds']} round{'s' * (data['rounds'] != 1)}.</p><nav class="toc">{links}</nav></header>
{legend(results)}
<section id="summary"><h2>Skein in short</h2>{tiles(results)}
<h3>Cost to the server, as a multiple of the bare loop</h3>
<p class="lead">CPU time, or memory for an idle connection. Of the servers on one core the cheapest of each row is marked; the bare loop does not
compete.</p>{summary_table(results)}</section>
{"".join(body)}
<section id="figures"><h2>All figures</h2><p class="lead">Medians, and the least and most of the rounds. Percentiles are of all
rounds together.</p>{details(results)}</section>
<section id="notes"><h2>How to read this</h2>{NOTES}{problems}<h3>Measured on and with</h3>
<div class="scroll"><table class="facts"><tbody>{table}</tbody></table></div></section>""")


def write_svg(results, folder):
    """The plots that the documentation shows, each with its legend."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    core = [s["name"] for s in results.of_group("core") if len(cost_entries(results, s["name"])) > 1]
    for name in core:
        made[f"bench-cost-{name}"] = cost_plot(results, name), False
    if "idle" in results.scenarios and len(cost_entries(results, "idle")) > 1:
        made["bench-idle"] = plots.bars("idle-memory", "Anonymous memory of an idle connection",
                                        cost_entries(results, "idle"), "anonymous memory for each connection", size_label), False
    growth = growth_plots(results)
    for key, plot in (("bench-subscribers", growth["subscribers"][:1]), ("bench-size", growth["size"][:1])):
        if plot:
            made[key] = plot[0], True
    for name in ("echo", "fanout-rate"):
        plot = latency_plot(results, name)
        if plot:
            made[f"bench-latency-{name}"] = plot, True
    for name, ((drawing, label), needs_legend) in made.items():
        if needs_legend:
            width, height = drawing.figure.get_size_inches()
            taller = height + 0.75
            drawing.figure.set_size_inches(width + 0.8, taller)
            drawing.figure.subplots_adjust(bottom=(0.145 * height + 0.75) / taller, top=1 - 0.1 * height / taller, left=0.12)
            drawn = {server for server, _ in drawing.tips.values()}
            plots.legend(drawing, [server for server in results.servers() if server in drawn], results.labels, 3)
        (folder / f"{name}.svg").write_text(drawing.finish(label, standalone=True) + "\n")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=pathlib.Path, help="the JSON of compare.py")
    parser.add_argument("--output", type=pathlib.Path, help="the page to write")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FOLDER", help="write the main plots there")
    options = parser.parse_args()
    results = Results(json.loads(options.results.read_text()))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(render(results))
    if options.svg:
        write_svg(results, options.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The plots, drawn by matplotlib as SVG that takes its colours from the page: they are names of CSS properties, so one
drawing serves light and dark. Each server has one colour, one marker and one line style throughout."""

import io
import math
import re
import xml.etree.ElementTree as tree

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402  (after the backend is chosen)
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MultipleLocator, NullFormatter, NullLocator  # noqa: E402

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
tree.register_namespace("", SVG)
tree.register_namespace("xlink", XLINK)

# Server: colour in the light, colour in the dark, marker, line.
LOOK = {
    "raw": ("#5d6875", "#aab4c0", "s", (0, (4, 2))),
    "skein": ("#c4145c", "#ff6b9f", "o", "-"),
    "skein-all": ("#c4145c", "#ff6b9f", "D", (0, (1, 1.4))),
    "textbook": ("#0b62a8", "#67b7f7", "^", "-"),
    "textbook-whole": ("#0b62a8", "#67b7f7", "2", (0, (3, 1.5))),
    "websocketpp": ("#b2560b", "#f5a358", "v", "-"),
    "libwebsockets": ("#6b3fb8", "#bb9cfa", "P", "-"),
    "gorilla": ("#007f78", "#3bcdc0", "X", "-"),
    "gorilla-all": ("#007f78", "#3bcdc0", "1", (0, (3, 1.5))),
    "ws": ("#45791a", "#98d160", "<", "-"),
    "websockets": ("#84720a", "#e2cd4f", ">", "-"),
}
INK, MUTED, GRID = "#010101", "#020202", "#030303"  # stand-ins until the drawing is finished
LIGHT = {"ink": "#1c232b", "muted": "#56616d", "grid": "#dde2e7", "card": "#ffffff"}
DARK = {"ink": "#e8edf2", "muted": "#a3afbb", "grid": "#333d47", "card": "#171d23"}
HOLLOW = "#040404"

matplotlib.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9,
    "axes.edgecolor": MUTED, "axes.labelcolor": MUTED, "axes.labelsize": 8.5, "xtick.color": MUTED,
    "ytick.color": MUTED, "text.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.8, "grid.color": GRID, "grid.linewidth": 0.7, "xtick.labelsize": 8.5, "ytick.labelsize": 9,
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 8.5, "axes.unicode_minus": True,
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.titlecolor": INK,
})


def stand_in(server):
    return f"#0500{list(LOOK).index(server):02x}"


def properties(dark):
    """The CSS properties that the drawings refer to."""
    colours = {**{f"s-{name}": look[1 if dark else 0] for name, look in LOOK.items()}, **(DARK if dark else LIGHT)}
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def quantity(value, digits=2):
    """Short, as for a label: 5.2 M, 238 k, 0.18."""
    if value == 0:
        return "0"
    for limit, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= limit:
            divisor = {" G": 1e9, " M": 1e6, " k": 1e3}[letter]
            return significant(value / divisor, digits) + letter
    return f"{value:,.0f}" if value >= 1000 else significant(value, digits)


def significant(value, digits=2):
    if value >= 10 ** digits:
        return f"{value:.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}"


def plain(value):
    """For the numbers at an axis: 1, not 1.0."""
    for limit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


def plain_time(value):
    return f"{value / 1e6:g} s" if value >= 1e6 else f"{value / 1e3:g} ms" if value >= 1e3 else f"{value:g} µs"


def microseconds(value):
    if value >= 1e6:
        return significant(value / 1e6) + " s"
    return significant(value / 1e3) + " ms" if value >= 1e3 else significant(value) + " µs"


def size_of(value):
    if value >= 1024 ** 2:
        return significant(value / 1024 ** 2) + " MiB"
    return significant(value / 1024) + " KiB" if value >= 1024 else f"{value:.0f} B"


class Drawing:
    """A figure that becomes SVG text. Marks carry the server they belong to and the text that explains them."""

    def __init__(self, width, height, name, columns=1):
        self.figure, self.axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
        self.axes = list(self.axes[0])
        self.name = name
        self.tips = {}

    def mark(self, artist, server, tips):
        key = f"mark{len(self.tips)}"
        artist.set_gid(key)
        self.tips[key] = (server, tips)

    def line(self, axes, server, xs, ys, tips, markers=True):
        _, _, marker, style = LOOK[server]
        strong = server.startswith("skein")
        drawn, = axes.plot(xs, ys, color=stand_in(server), linestyle=style, linewidth=2.2 if strong else 1.5,
                           marker=marker if markers else None, markersize=5.5 if strong else 5,
                           markeredgewidth=0, zorder=4 if strong else 3, solid_capstyle="round")
        self.mark(drawn, server, tips)

    def finish(self, label, standalone=False):
        with io.StringIO() as out:
            with matplotlib.rc_context({"svg.hashsalt": self.name}):
                self.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            pyplot.close(self.figure)
            root = tree.fromstring(out.getvalue())
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag.endswith("}metadata") or child.tag.endswith("}style"):
                    parent.remove(child)
        self.name_marks(root)
        width, height = (root.attrib.pop(side).removesuffix("pt") for side in ("width", "height"))
        root.set("role", "img")
        root.set("aria-label", label)
        if standalone:
            root.set("width", width)
            root.set("height", height)
            style = tree.Element(f"{{{SVG}}}style")
            style.text = (f"svg{{{properties(False)}--font:system-ui,sans-serif}}"
                          f"@media (prefers-color-scheme:dark){{svg{{{properties(True)}}}}}")
            root.insert(0, style)
            card = tree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": "var(--card)"})
            root.insert(1, card)
        text = tree.tostring(root, encoding="unicode")
        for colour, name in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (HOLLOW, "card"),
                             *((stand_in(server), f"s-{server}") for server in LOOK)):
            text = text.replace(colour, f"var(--{name})")
        return re.sub(r"'DejaVu Sans'(, sans-serif)?", "var(--font)", text)

    def name_marks(self, root):
        for element in root.iter(f"{{{SVG}}}g"):
            identity = element.attrib.get("id", "")
            if identity in self.tips:
                server, tips = self.tips[identity]
                del element.attrib["id"]
                element.set("data-s", server)
                element.set("class", "mark")
                uses = list(element.iter(f"{{{SVG}}}use"))
                marks = uses if len(uses) == len(tips) else [element]
                for mark, tip in zip(marks, tips):
                    mark.set("data-tip", tip)
            elif not identity.startswith(("m", "p")) or "_" in identity:
                element.attrib.pop("id", None)  # matplotlib's names of the parts of a figure: the same in each
        for element in root.iter(f"{{{SVG}}}text"):
            element.attrib.pop("id", None)
        for mark in root.iter(f"{{{SVG}}}g"):
            if mark.get("class") == "mark":  # a label stays readable where a line crosses it
                for element in mark.iter(f"{{{SVG}}}text"):
                    element.set("style", f"{element.get('style', '')}; paint-order: stroke; stroke: {HOLLOW}; "
                                         "stroke-width: 3px; stroke-linejoin: round")


def log_axis(axis, label, spread):
    """Decades are labelled, and where there are few of them 2 and 5 as well."""
    subs = (1.0, 2.0, 5.0) if spread < 40 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    axis.set_minor_locator(LogLocator(base=10, subs=range(2, 10), numticks=40) if spread >= 40 else NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())


def limits(values, below=1.35, above=1.35):
    return min(values) / below, max(values) * above


def lanes(name, label, entries, unit, axis_label=plain, reference=None, room=0.42):
    """A lane for each server, a dot where its value is: what a range of a thousand needs, where bars would mislead.
    `entries`: server, its label, value, text beside the dot, tip."""
    drawing = Drawing(4.7, 0.62 + 0.255 * len(entries), name)
    axes = drawing.axes[0]
    values = [entry[2] for entry in entries]
    low, high = limits(values + ([reference] if reference else []))
    spread = high / low
    axes.set_xscale("log")
    axes.set_xlim(low, high * spread ** room)
    axes.set_ylim(len(entries) - 0.45, -0.55)
    if reference:
        axes.axvline(reference, color=stand_in("raw"), linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    for row, (server, _, value, text, tip) in enumerate(entries):
        axes.axhline(row, color=GRID, linewidth=0.7, zorder=0)
        marker = LOOK[server][2]
        dot, = axes.plot([value], [row], color=stand_in(server), marker=marker, linestyle="none",
                         markersize=8 if server.startswith("skein") else 7, markeredgewidth=0, zorder=4)
        drawing.mark(dot, server, [tip])
        written = axes.annotate(text, (value, row), xytext=(8, 0), textcoords="offset points", va="center",
                                fontsize=8.5, fontweight="bold" if server.startswith("skein") else "normal")
        drawing.mark(written, server, [])
    axes.set_yticks(range(len(entries)), [entry[1] for entry in entries])
    axes.tick_params(axis="y", length=0)
    for tick, entry in zip(axes.get_yticklabels(), entries):
        tick.set_color(INK)
        if entry[0].startswith("skein"):
            tick.set_fontweight("bold")
    axes.spines["left"].set_visible(False)
    log_axis(axes.xaxis, axis_label, spread)
    ticks = [t for t in axes.xaxis.get_majorticklocs() if low <= t <= high]
    if len(ticks) >= 2:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(unit)
    drawing.figure.subplots_adjust(left=0.315, right=0.985, top=0.995, bottom=0.43 / (0.62 + 0.255 * len(entries)))
    return drawing, label


def bars(name, label, entries, unit, axis_label):
    """Bars from zero, of bytes: for what is no wider than a decade or two."""
    drawing = Drawing(4.7, 0.62 + 0.255 * len(entries), name)
    axes = drawing.axes[0]
    for row, (server, _, value, text, tip) in enumerate(entries):
        bar, = axes.barh([row], [value], height=0.62, color=stand_in(server), zorder=3)
        drawing.mark(bar, server, [tip])
        written = axes.annotate(text, (value, row), xytext=(5, 0), textcoords="offset points", va="center",
                                fontsize=8.5, fontweight="bold" if server.startswith("skein") else "normal")
        drawing.mark(written, server, [])
    axes.set_yticks(range(len(entries)), [entry[1] for entry in entries])
    for tick, entry in zip(axes.get_yticklabels(), entries):
        tick.set_color(INK)
        if entry[0].startswith("skein"):
            tick.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(entries) - 0.45, -0.55)
    longest = max(entry[2] for entry in entries)
    axes.set_xlim(0, longest * 1.2)
    step = 1024 * 2 ** max(0, math.ceil(math.log2(longest / 1024 / 5))) if longest > 1024 else 256
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis_label(value)))
    axes.grid(axis="x")
    axes.set_xlabel(unit)
    drawing.figure.subplots_adjust(left=0.315, right=0.985, top=0.995, bottom=0.43 / (0.62 + 0.255 * len(entries)))
    return drawing, label


def curves(name, label, series, x_title, y_title, x_label=plain, y_label=plain, size=(4.7, 3.3)):
    """Lines over a logarithmic axis. `series`: server -> list of (x, y, tip)."""
    drawing = Drawing(*size, name)
    axes = drawing.axes[0]
    plot_curves(drawing, axes, series, x_title, y_title, x_label, y_label)
    drawing.figure.subplots_adjust(left=0.135, right=0.97, top=0.9, bottom=0.145)
    return drawing, label


def plot_curves(drawing, axes, series, x_title, y_title, x_label, y_label):
    axes.set_xscale("log")
    axes.set_yscale("log")
    for server, points in series.items():
        drawing.line(axes, server, [p[0] for p in points], [p[1] for p in points], [p[2] for p in points])
    xs = sorted({p[0] for points in series.values() for p in points})
    ys = [p[1] for points in series.values() for p in points]
    axes.xaxis.set_major_locator(FixedLocator(xs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: x_label(value)))
    axes.set_xlim(xs[0] / 1.25, xs[-1] * 1.25)
    low, high = limits(ys)
    axes.set_ylim(low, high)
    log_axis(axes.yaxis, y_label, high / low)
    axes.grid(True, which="major")
    axes.set_xlabel(x_title)
    axes.set_title(y_title, fontsize=8.5, color=MUTED, pad=7)
    axes.title.set_position((-0.12, 1))


PERCENTILES = (50, 90, 99, 99.9, 99.99)


def percentile_curve(buckets, points=160):
    """From a histogram of (upper edge, count): pairs of percentile and value, dense where the tail is."""
    total = sum(count for _, count in buckets)
    deepest = min(4.0, math.log10(total)) if total > 1 else 0.3
    curve, seen, at = [], 0, 0
    for i in range(points + 1):
        fraction = 1 - 10 ** (-deepest * i / points)
        wanted = max(1, math.ceil(total * fraction - 1e-9))
        while at < len(buckets) and seen + buckets[at][1] < wanted:
            seen += buckets[at][1]
            at += 1
        curve.append((fraction, buckets[min(at, len(buckets) - 1)][0]))
    return curve


def latency(name, label, series, y_title, size=(4.7, 3.3)):
    """Percentiles towards the tail, so that 99 % and 99.9 % are as wide as the half before. `series`: server -> list
    of (fraction, microseconds)."""
    drawing = Drawing(*size, name)
    plot_latency(drawing, drawing.axes[0], series, y_title)
    drawing.figure.subplots_adjust(left=0.135, right=0.97, top=0.9, bottom=0.145)
    return drawing, label


def plot_latency(drawing, axes, series, y_title):
    def place(fraction):
        return -math.log10(max(1 - fraction, 1e-9))
    for server, points in series.items():
        xs, ys = [place(f) for f, _ in points], [v for _, v in points]
        drawing.line(axes, server, xs, ys, ["; ".join(
            f"p{p:g} {microseconds(at_percentile(points, p / 100))}" for p in PERCENTILES[:4]
            if p / 100 <= points[-1][0] + 1e-9)], markers=False)
        # A marker where the percentile has a name, so that the line is known without its colour.
        for percentile in PERCENTILES:
            if percentile / 100 <= points[-1][0] + 1e-9:
                value = at_percentile(points, percentile / 100)
                dot, = axes.plot([place(percentile / 100)], [value], color=stand_in(server), linestyle="none",
                                 marker=LOOK[server][2], markersize=5, markeredgewidth=0, zorder=4)
                drawing.mark(dot, server, [f"p{percentile:g}: {microseconds(value)}"])
    axes.set_yscale("log")
    deepest = max(place(points[-1][0]) for points in series.values())
    shown = [p for p in PERCENTILES if place(p / 100) <= deepest + 0.05]
    axes.xaxis.set_major_locator(FixedLocator([place(p / 100) for p in shown]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, i: f"{shown[i]:g} %" if i is not None and
                                                 i < len(shown) else ""))
    axes.set_xlim(0, deepest + 0.1)
    low, high = limits([v for points in series.values() for _, v in points])
    axes.set_ylim(low, high)
    log_axis(axes.yaxis, plain_time, high / low)
    axes.grid(True, which="major")
    axes.set_xlabel("this share of messages took no longer")
    axes.set_title(y_title, fontsize=8.5, color=MUTED, pad=7)
    axes.title.set_position((-0.12, 1))


def at_percentile(points, fraction):
    return next((value for f, value in points if f >= fraction - 1e-9), points[-1][1])


def legend(drawing, names, labels, columns):
    """Below a drawing that stands alone."""
    from matplotlib.lines import Line2D
    handles = [Line2D([], [], color=stand_in(name), marker=LOOK[name][2], linestyle=LOOK[name][3], markersize=5,
                      markeredgewidth=0, linewidth=2 if name.startswith("skein") else 1.5) for name in names]
    drawing.figure.legend(handles, [labels[name] for name in names], loc="lower center", ncol=columns,
                          handlelength=2.4, columnspacing=1.6, labelcolor=INK)

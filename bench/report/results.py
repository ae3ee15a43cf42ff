"""The results of a comparison as the page wants them: medians, spreads, and what a figure is a multiple of."""

import statistics

import plots


class Results:
    def __init__(self, data):
        self.data = data
        self.labels = {server["name"]: server["label"] for server in data["servers"]}
        self.pinned = {server["name"]: server["pinned"] for server in data["servers"]}
        self.scenarios = {scenario["name"]: scenario for scenario in data["scenarios"]}
        self.found = {(result["scenario"], result["server"]): result for result in data["results"]}

    def servers(self):
        return list(self.labels)

    def of_group(self, *groups):
        """Those scenarios of which there is anything to show."""
        return [s for s in self.scenarios.values()
                if s["group"] in groups and any(self.reports(s["name"], server) for server in self.labels)]

    def reports(self, scenario, server):
        """Of the runs that gave figures."""
        found = self.found.get((scenario, server), {"reports": []})["reports"]
        return [report for report in found if len(report) > 4]

    def values(self, scenario, server, key):
        return [report[key] for report in self.reports(scenario, server) if key in report]

    def median(self, scenario, server, key):
        values = self.values(scenario, server, key)
        return statistics.median(values) if values else None

    def cost(self, scenario, server):
        return self.median(scenario, server, self.scenarios[scenario]["metric"])

    def multiple(self, scenario, server):
        """Of the bare loop, or of the scenario that this one is a variant of. One that ran by itself has none of those
        that took turns."""
        if self.scenarios[scenario].get("by_turns"):
            return self.median(scenario, server, "multiple")
        baseline = self.scenarios[scenario]["baseline"]
        reference = self.cost(baseline, server) if baseline else self.cost(scenario, "raw")
        cost = self.cost(scenario, server)
        return cost / reference if cost is not None and reference and (baseline or server != "raw") else None

    def not_run(self, scenario, server):
        return server in self.scenarios[scenario]["not_run"]

    def marks(self, scenario, server):
        """* for a rate that is the load generator's, ! for a run that lost something."""
        found = self.found.get((scenario, server), {"reports": []})["reports"]
        return ("*" if any(report.get("load_was_bottleneck") for report in found) else "") + \
            ("!" if not all(report["ok"] for report in found) else "")

    def problems(self):
        """Scenario, server, how many of its runs, and the first problem of each that lost something."""
        for (scenario, server), result in self.found.items():
            bad = [report for report in result["reports"] if not report["ok"]]
            if bad:
                text = bad[0].get("first_problem") or "; ".join(bad[0].get("notes", [])) or lost(bad[0])
                yield self.scenarios[scenario], self.labels[server], len(bad), len(result["reports"]), text

    def spread(self, scenario, server, key, show):
        values = self.values(scenario, server, key)
        if len(values) < 2:
            return show(values[0]) if values else ""
        return f"{show(min(values))} to {show(max(values))} in {len(values)} rounds"

    def distribution(self, scenario, server):
        """(fraction, microseconds) from all rounds: of the histogram, or else of the percentiles that are known."""
        name = self.scenarios[scenario]["latency"]
        buckets = self.found.get((scenario, server), {}).get("histogram_us")
        if buckets and sum(count for _, count in buckets) >= 20:
            return plots.percentile_curve(buckets)
        known = [(fraction, self.median(scenario, server, f"{name}_{key}_us")) for fraction, key in
                 ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99_9"))]
        return [(fraction, value) for fraction, value in known if value]

    def percentile(self, scenario, server, percent):
        points = self.distribution(scenario, server)
        if points and points[-1][0] >= percent / 100 - 1e-9:
            return plots.at_percentile(points, percent / 100)
        return None


def lost(report):
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in report.items()
                     if value and isinstance(value, int) and not isinstance(value, bool) and
                     any(word in key for word in ("missing", "duplicate", "lost", "refused", "corrupt", "wrong")))

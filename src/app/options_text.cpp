// The options' table as people read it: `--help` and the reference page.

#include "app/options.hpp"

#include <utility>

namespace skein::app {
namespace {

std::string placeholder(const option& what) {
  if (what.type == "switch") return "[=true|false]";
  std::string upper = " ";
  for (char c : what.type) upper += static_cast<char>(c - 'a' + 'A');
  return upper;
}

constexpr std::string_view before_options = R"(skein-server: a WebSocket server.

Usage: skein-server [OPTION...]

Flags win over environment variables, those over the file, the file over the defaults. A DURATION has a unit, as in
25s or 500ms; BYTES may have one, as in 64KiB.

  --config FILE
      Read options from this file (TOML: key = value, a key is an option without its dashes).
  --help, --version
      Print this text, or the version.
)";

constexpr std::string_view page_top = R"(# Configuration

Every option of `skein-server` can be given as a flag, as an environment variable, and as a key in a configuration
file; `config::load` reads all three. Flags win over the environment, the environment over the file, the file over the
defaults.

```
skein-server --ping-interval 20s --allowed-origin https://example.org
WEBSOCKET_PING_INTERVAL=20s WEBSOCKET_ALLOWED_ORIGINS=https://example.org,https://example.net skein-server
skein-server --config skein.toml
```

```toml
# skein.toml: a key is a flag without its dashes
ping-interval = "20s"
max-connections = 5000
compression = true
allowed-origin = ["https://example.org", "https://example.net"]
```

- A **duration** is a whole number with a unit, `ns`, `us`, `ms`, `s`, `m` or `h`: `25s`, `500ms`. A bare number is
  refused.
- A number of **bytes** may have a unit, each 1,024 times the one before: `k`, `K` or `KiB`; `m`, `M` or `MiB`; `G` or
  `GiB`.
- A **switch** is `true`, `on` or `1`, or `false`, `off` or `0`. Its flag alone turns it on, `--compression=false` off.

A value that is not allowed, an unknown flag and an unknown key end the program with status 2 and one line that names
the option, where it came from, the value, and what is allowed. A `WEBSOCKET_` variable that is not in this table only
causes a warning in the log: orchestrators set such variables of their own.

| flag and key | environment | kind | default | allowed | what it does |
|---|---|---|---|---|---|
)";

constexpr std::string_view page_bottom = R"(
Three flags are no options of the server: `--config FILE`, `--help` and `--version`.

This page is printed by `skein-server --print-options-markdown`.
)";

}  // namespace

std::string help_text() {
  const config defaults;
  std::string text{before_options};
  for (const auto& what : options()) {
    const auto value = what.show(defaults);
    text += "  --" + what.key + placeholder(what) + "\n      " + what.help + "\n      " +
            (value.empty() ? std::string{"No default"} : "Default " + value) + "; allowed: " + what.allowed +
            "; " + what.environment + "\n";
  }
  return text;
}

std::string reference_page() {
  const config defaults;
  std::string page{page_top};
  for (const auto& what : options()) {
    const auto value = what.show(defaults);
    page += "| `" + what.key + "` | `" + what.environment + "` | " + what.type + " | " +
            (value.empty() ? std::string{"none"} : "`" + value + "`") + " | " + what.allowed + " | " +
            what.help + " |\n";
  }
  page += page_bottom;
  return page;
}

}  // namespace skein::app

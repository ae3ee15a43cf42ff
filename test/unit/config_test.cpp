#include "app/options.hpp"
#include "app/tokens.hpp"
#include "app/value_text.hpp"

#include <skein/config.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace {

using namespace std::chrono_literals;
using skein::config;
using skein::configuration_error;

config load(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "skein-server");
  return config::load(static_cast<int>(arguments.size()), arguments.data());
}

// What `load` refuses with; empty if it does not.
std::string refusal(std::vector<const char*> arguments) {
  try {
    load(std::move(arguments));
    return {};
  } catch (const configuration_error& e) {
    return e.what();
  }
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

class variable {
 public:
  variable(std::string name, const char* value) : name_(std::move(name)) {
    ::setenv(name_.c_str(), value, 1);
  }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() { ::unsetenv(name_.c_str()); }

 private:
  std::string name_;
};

class file {
 public:
  explicit file(std::string_view content)
      : path_(std::filesystem::temp_directory_path() /
              ("skein-config-test-" + std::to_string(::getpid()) + ".toml")) {
    std::ofstream{path_} << content;
  }
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() { std::filesystem::remove(path_); }
  [[nodiscard]] const char* path() const { return path_.c_str(); }

 private:
  std::filesystem::path path_;
};

std::string in_type(const skein::app::option& what, std::uint64_t value) {
  return std::to_string(value) + (what.type == "duration" ? "ns" : "");
}

bool accepts(const skein::app::option& what, const std::string& value) {
  config scratch;
  return what.set(scratch, {value});
}

}  // namespace

TEST_SUITE("config") {
  TEST_CASE("without flags, variables or a file the defaults hold") {
    const config defaults;
    const auto loaded = load({});
    for (const auto& what : skein::app::options()) {
      CAPTURE(what.key);
      CHECK(what.show(loaded) == what.show(defaults));
    }
    CHECK(loaded.manager.limits.ping_interval == 25s);
    CHECK(loaded.manager.max_connections == 10'000);
    CHECK(loaded.warnings.empty());
  }

  TEST_CASE("a flag, a variable and a key set the same option") {
    CHECK(load({"--ping-interval", "3s"}).manager.limits.ping_interval == 3s);
    CHECK(load({"--ping-interval=4s"}).manager.limits.ping_interval == 4s);
    {
      const variable set{"WEBSOCKET_PING_INTERVAL", "5s"};
      CHECK(load({}).manager.limits.ping_interval == 5s);
      CHECK(config::from_environment().manager.limits.ping_interval == 5s);
    }
    const file written{"ping-interval = \"6s\"  # pings\n"};
    CHECK(load({"--config", written.path()}).manager.limits.ping_interval == 6s);
  }

  TEST_CASE("flags win over the environment, the environment over the file") {
    const file written{"port = 1001\nshards = 1\nmax-header-fields = 11\n"};
    const variable port{"WEBSOCKET_PORT", "1002"};
    const variable shards{"WEBSOCKET_SHARDS", "2"};
    const auto loaded = load({"--config", written.path(), "--port", "1003"});
    CHECK(loaded.server.port == 1003);
    CHECK(loaded.manager.shards == 2);
    CHECK(loaded.server.max_header_fields == 11);
  }

  TEST_CASE("every default is allowed, and every option sets only itself") {
    for (const auto& what : skein::app::options()) {
      CAPTURE(what.key);
      const config defaults;
      const auto value = what.show(defaults);
      config changed;
      const std::string other = what.type == "switch"          ? (value == "true" ? "false" : "true")
                                : what.key == "address"        ? "::1"
                                : what.key == "allowed-origin" ? "https://example.org"
                                : what.key == "log-level"      ? "error"
                                : what.key == "engine"         ? (value == "beast" ? "native" : "beast")
                                : !what.example.empty()        ? what.example
                                                               : in_type(what, what.bounds.high);
      if (!value.empty()) CHECK(what.set(changed, {value}));
      REQUIRE(what.set(changed, {other}));
      CHECK(what.show(changed) != value);
      for (const auto& neighbour : skein::app::options())
        if (neighbour.key != what.key) CHECK(neighbour.show(changed) == neighbour.show(defaults));
    }
  }

  TEST_CASE("every bound holds one below, at, and one above") {
    for (const auto& what : skein::app::options()) {
      if (what.bounds.high == 0) continue;
      CAPTURE(what.key);
      const auto [low, high, or_zero] = what.bounds;
      CHECK(accepts(what, in_type(what, low)));
      CHECK(accepts(what, in_type(what, low + 1)));
      CHECK(accepts(what, in_type(what, high - 1)));
      CHECK(accepts(what, in_type(what, high)));
      CHECK_FALSE(accepts(what, in_type(what, high + 1)));
      if (low > 0) CHECK(accepts(what, in_type(what, low - 1)) == (or_zero && low == 1));
      if (low > 0) CHECK(accepts(what, in_type(what, 0)) == or_zero);
      CHECK_FALSE(accepts(what, "-1"));
      CHECK_FALSE(accepts(what, ""));
      CHECK_FALSE(accepts(what, "many"));
      CHECK_FALSE(accepts(what, "99999999999999999999999"));
    }
  }

  TEST_CASE("a value that is not allowed is named with its option, its source and what is allowed") {
    const auto flag = refusal({"--ping-interval", "25"});
    CHECK(contains(flag, "the flag --ping-interval"));
    CHECK(contains(flag, "'25'"));
    CHECK(contains(flag, "1ms to 24h"));

    const variable set{"WEBSOCKET_MAX_CONNECTIONS", "0"};
    const auto from_variable = refusal({});
    CHECK(contains(from_variable, "the variable WEBSOCKET_MAX_CONNECTIONS"));
    CHECK(contains(from_variable, "'0'"));
    CHECK(contains(from_variable, "1 to 10000000"));
    CHECK_THROWS_AS(static_cast<void>(config::from_environment()), configuration_error);
  }

  TEST_CASE("a key with a value that is not allowed is named with its file") {
    const file written{"compression-level = 10\n"};
    const auto text = refusal({"--config", written.path()});
    CHECK(contains(text, "the key compression-level in " + std::string{written.path()}));
    CHECK(contains(text, "'10'"));
    CHECK(contains(text, "1 to 9"));
  }

  TEST_CASE("a refusal is one line whatever the value holds") {
    const auto text = refusal({"--address", "a\nb\x1b[31m"});
    CHECK(contains(text, "'a\\x0ab\\x1b[31m'"));
    CHECK(std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  }

  TEST_CASE("what is not an option is refused as a flag and as a key") {
    CHECK(contains(refusal({"--pong-interval", "1s"}), "'--pong-interval' is not an option"));
    CHECK(contains(refusal({"1s"}), "'1s' is not an option"));
    const file key{"pong-interval = \"1s\"\n"};
    CHECK(contains(refusal({"--config", key.path()}), "'pong-interval' in "));
  }

  TEST_CASE("keys that look as the parser's own marks do are no options either") {
    for (const std::string key : {"++", "--", "+", "-", ".", "..", "\"\"", "'++'"}) {
      CAPTURE(key);
      const file written{key + " = \"x\"\n"};
      CHECK_THROWS_AS(load({"--config", written.path()}), skein::configuration_error);
    }
  }

  TEST_CASE("a section in the file is refused") {
    const file written{"[server]\nport = 1\n"};
    CHECK_FALSE(refusal({"--config", written.path()}).empty());
  }

  TEST_CASE("an option that is given twice is refused") {
    CHECK(contains(refusal({"--port", "1", "--port", "2"}), "more than once"));
    const file written{"port = 1\nshards = 1\nport = 2\n"};
    CHECK(contains(refusal({"--config", written.path()}), "more than once"));
  }

  TEST_CASE("a flag without its value, and a file that is not there, are refused") {
    CHECK(contains(refusal({"--port"}), "--port"));
    const auto missing = refusal({"--config", "/nowhere/skein.toml"});
    CHECK(contains(missing, "/nowhere/skein.toml"));
    CHECK(contains(missing, "cannot be read"));
    CHECK(contains(refusal({"--config", "/"}), "cannot be read"));
  }

  TEST_CASE("an unknown WEBSOCKET_ variable is a warning") {
    const variable set{"WEBSOCKET_SERVICE_HOST", "10.0.0.1"};
    const auto loaded = load({});
    REQUIRE(loaded.warnings.size() == 1);
    CHECK(contains(loaded.warnings.front(), "WEBSOCKET_SERVICE_HOST"));
  }

  TEST_CASE("an empty list does not switch off what another source switched on") {
    const file written{
        "tls-certificate = [\"a.crt\"]\ntls-key = [\"a.key\"]\njwt-issuer = [\"https://a.example\"]\n"
        "jwks = \"/etc/jwks\"\nallowed-origin = [\"https://a.example\"]\n"};
    for (const std::string name : {"TLS_CERTIFICATES", "TLS_KEYS", "JWT_ISSUERS", "ALLOWED_ORIGINS"}) {
      CAPTURE(name);
      for (const char* const value : {"", " ", ",", "a,,b"}) {
        const variable set{"WEBSOCKET_" + name, value};
        CHECK(contains(refusal({"--config", written.path()}), "the variable WEBSOCKET_" + name));
      }
    }
    for (const auto* const content :
         {"allowed-origin = []\n", "tls-certificate = []\n", "port = []\n", "trusted-proxy = [\"\"]\n"}) {
      const file empty{content};
      CHECK(contains(refusal({"--config", empty.path()}), "is not allowed"));
    }
    CHECK_FALSE(refusal({"--jwt-issuer="}).empty());
  }

  TEST_CASE("what is of no use without something else is refused") {
    for (const auto& [flag, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"--jwt-issuer", "https://a.example"},
                                                                    {"--jwt-audience", "trading"},
                                                                    {"--jwt-one-time", "10"},
                                                                    {"--token-cookie", "session"},
                                                                    {"--token-query", "token"}}) {
      CAPTURE(flag);
      CHECK(contains(refusal({flag, value}), "is of no use without keys"));
      CHECK(refusal({flag, value, "--jwks", "/etc/jwks"}).empty());
    }
    CHECK(contains(refusal({"--jwt-require-nbf"}), "is of no use without keys"));
    CHECK(contains(refusal({"--token-first-message"}), "is of no use without keys"));
    CHECK(contains(refusal({"--message-burst", "10"}), "is of no use without a message-rate"));
    CHECK(refusal({"--message-burst", "10", "--message-rate", "1/s"}).empty());
    CHECK(contains(refusal({"--forwarded-header", "forwarded"}), "is of no use without a trusted-proxy"));
    CHECK(refusal({"--forwarded-header", "forwarded", "--trusted-proxy", "10.0.0.0/8"}).empty());
  }

  TEST_CASE("what is allowed and seldom meant is warned of") {
    const auto warns = [](std::vector<const char*> arguments, std::string_view text) {
      const auto loaded = load(std::move(arguments));
      return loaded.warnings.size() == 1 && contains(loaded.warnings.front(), text);
    };
    CHECK(warns({"--trusted-proxy", "0.0.0.0/0"}, "every client is believed"));
    CHECK(warns({"--trusted-proxy", "::/0"}, "every client is believed"));
    CHECK(load({"--trusted-proxy", "10.0.0.0/8"}).warnings.empty());
    CHECK(warns({"--jwks", "/k", "--token-cookie", "session"}, "no cookie is accepted"));
    CHECK(warns({"--jwks", "/k", "--token-cookie", "session", "--allowed-origin", "*"},
                "no cookie is accepted"));
    CHECK(load({"--jwks", "/k", "--token-cookie", "session", "--allowed-origin", "https://a.example"})
              .warnings.empty());
    CHECK(warns({"--jwks", "/k", "--jwt-issuer", "a", "--jwt-issuer", "b"}, "jwt-user is sub"));
    CHECK(load({"--jwks", "/k", "--jwt-issuer", "a"}).warnings.empty());
    const auto loaded =
        load({"--jwks", "/k", "--jwt-issuer", "a", "--jwt-issuer", "b", "--jwt-user", "iss-sub"});
    CHECK(loaded.warnings.empty());
    CHECK(loaded.tokens.user == skein::token_user::issuer_and_subject);
  }

  TEST_CASE("a switch is turned on by its flag alone, and off by a value") {
    CHECK(load({"--compression"}).manager.compression.enabled);
    CHECK_FALSE(load({"--compression=false"}).manager.compression.enabled);
    CHECK(load({}).examples);
    CHECK_FALSE(load({"--examples=false"}).examples);
    CHECK_FALSE(load({"--examples=off"}).examples);
    CHECK(contains(refusal({"--examples=maybe"}), "'maybe'"));
    const variable set{"WEBSOCKET_EXAMPLES", "0"};
    CHECK_FALSE(load({}).examples);
    CHECK(load({"--examples"}).examples);
  }

  TEST_CASE("origins come from repeated flags, a list in a variable, and an array in the file") {
    const std::vector<std::string> both{"https://a.example", "http://b.example:8080"};
    CHECK(load({"--allowed-origin", "https://a.example", "--allowed-origin", "http://b.example:8080"})
              .server.origin.allowed == both);
    const file written{"allowed-origin = [\"https://a.example\", \"http://b.example:8080\"]\n"};
    CHECK(load({"--config", written.path()}).server.origin.allowed == both);
    const variable set{"WEBSOCKET_ALLOWED_ORIGINS", "https://a.example, http://b.example:8080"};
    CHECK(load({}).server.origin.allowed == both);
    CHECK(load({"--allowed-origin", "*"}).server.origin.allowed == std::vector<std::string>{"*"});
  }

  TEST_CASE("the origin that is wrong is the one that is named") {
    const auto text =
        refusal({"--allowed-origin", "https://a.example", "--allowed-origin", "b.example/path"});
    CHECK(contains(text, "'b.example/path'"));
    CHECK_FALSE(contains(text, "a.example'"));
  }

  TEST_CASE("an address is IPv4 or IPv6") {
    CHECK(load({"--address", "::"}).server.address == "::");
    CHECK(load({"--address", "0.0.0.0"}).server.address == "0.0.0.0");
    CHECK(contains(refusal({"--address", "localhost"}), "an IPv4 or IPv6 address"));
    CHECK_FALSE(refusal({"--address", "1.2.3"}).empty());
  }

  TEST_CASE("keys may be for one issuer, whose tokens are taken") {
    using skein::app::parse_bound_keys;
    using skein::app::parse_key_file;
    const auto file = parse_key_file("ES256:/etc/key.pem issuer=https://id.example", false);
    REQUIRE(file);
    CHECK(file->path == "/etc/key.pem");
    CHECK(file->issuer == "https://id.example");
    CHECK(parse_key_file("ES256:/etc/issuer=x", false)->path == "/etc/issuer=x");
    CHECK_FALSE(parse_key_file("ES256:/etc/key.pem issuer=", false));
    CHECK_FALSE(parse_key_file("ES256: issuer=x", false));
    const auto set = parse_bound_keys("/etc/jwks issuer=https://id.example");
    REQUIRE(set);
    CHECK(set->where == "/etc/jwks");
    skein::token_config from;
    from.jwks = "/etc/jwks issuer=https://id.example";
    CHECK(skein::app::has_key_files(from));
    from.jwks = "https://id.example/jwks issuer=https://id.example";
    CHECK_FALSE(skein::app::has_key_files(from));
    const auto silent = [](std::string_view) {};
    from.issuers = {"https://other.example"};
    CHECK_THROWS_AS(static_cast<void>(skein::app::make_tokens(from, nullptr, silent)),
                    skein::configuration_error);
    from.issuers.push_back("https://id.example");
    const auto made = skein::app::make_tokens(from, nullptr, silent);
    CHECK(made->options().jwks.url == "https://id.example/jwks");
    CHECK(made->options().jwks.format.issuer == "https://id.example");
  }

  TEST_CASE("what is said of tokens is what their verifier gets") {
    auto from = load({"--jwks", "https://id.example/jwks", "--jwt-clock-skew", "5s", "--token-grace", "0s",
                      "--jwt-one-time", "7", "--jwt-require-nbf"})
                    .tokens;
    const auto made = skein::app::make_tokens(from, nullptr, [](std::string_view) {});
    CHECK(made->options().jwt.clock_skew == 5s);
    CHECK(made->options().grace == 0s);
    CHECK(made->options().jwt.one_time_capacity == 7);
    CHECK(made->options().jwt.require_not_before);
    CHECK(contains(refusal({"--token-grace", "1500ms"}), "in whole seconds"));
    CHECK_FALSE(refusal({"--jwt-clock-skew", "3601s"}).empty());
    CHECK(load({"--jwt-clock-skew", "1h"}).tokens.clock_skew == 1h);
    CHECK(load({"--token-grace", "1s"}).tokens.grace == 1s);
    CHECK_FALSE(refusal({"--token-grace", "999999999ns"}).empty());
  }

  TEST_CASE("help and version are texts to print") {
    CHECK_THROWS_AS(load({"--help"}), skein::help_requested);
    CHECK_THROWS_AS(load({"--help", "--nonsense"}), skein::help_requested);
    CHECK_THROWS_AS(load({"--version"}), skein::help_requested);
    const auto help = skein::app::help_text();
    const auto page = skein::app::reference_page();
    for (const auto& what : config::options()) {
      CAPTURE(what.key);
      CHECK(contains(help, "--" + what.key));
      CHECK(contains(help, what.environment));
      CHECK(contains(page, "| `" + what.key + "` | `" + what.environment + "` |"));
      CHECK_FALSE(what.allowed.empty());
    }
  }

  TEST_CASE("no key and no variable is declared twice") {
    std::set<std::string> names;
    for (const auto& what : config::options()) {
      CHECK(names.insert(what.key).second);
      CHECK(names.insert(what.environment).second);
      CHECK(what.environment.starts_with("WEBSOCKET_"));
    }
  }
}

TEST_SUITE("value text") {
  using skein::app::format_bytes;
  using skein::app::format_duration;
  using skein::app::parse_bytes;
  using skein::app::parse_duration;

  TEST_CASE("a duration needs a unit") {
    CHECK(parse_duration("25s") == 25s);
    CHECK(parse_duration("500ms") == 500ms);
    CHECK(parse_duration("2m") == 2min);
    CHECK(parse_duration("1h") == 1h);
    CHECK(parse_duration("7us") == 7us);
    CHECK(parse_duration("0s") == 0s);
    for (const char* bad : {"", "25", "s", "1.5s", "-1s", "+1s", "1 s", " 1s", "1s ", "1d", "1S", "0x1s"})
      CHECK_FALSE(parse_duration(bad).has_value());
    CHECK(parse_duration("9223372036854775807ns").has_value());
    CHECK_FALSE(parse_duration("9223372036854775808ns").has_value());
    CHECK_FALSE(parse_duration("2562048h").has_value());
  }

  TEST_CASE("bytes may have a unit of 1,024") {
    CHECK(parse_bytes("65536") == 65'536U);
    CHECK(parse_bytes("64KiB") == 65'536U);
    CHECK(parse_bytes("64k") == 65'536U);
    CHECK(parse_bytes("64K") == 65'536U);
    CHECK(parse_bytes("1MiB") == 1'048'576U);
    CHECK(parse_bytes("1m") == 1'048'576U);
    CHECK(parse_bytes("2GiB") == 2'147'483'648U);
    CHECK(parse_bytes("5B") == 5U);
    for (const char* bad : {"", "KiB", "1KB", "1kB", "1.5MiB", "-1", "1 KiB", "1TiB"})
      CHECK_FALSE(parse_bytes(bad).has_value());
    CHECK(parse_bytes("17179869183GiB").has_value());
    CHECK_FALSE(parse_bytes("17179869184GiB").has_value());
  }

  TEST_CASE("values are printed as they are written") {
    CHECK(format_duration(25s) == "25s");
    CHECK(format_duration(90s) == "90s");
    CHECK(format_duration(120s) == "2m");
    CHECK(format_duration(1500ms) == "1500ms");
    CHECK(format_duration(0s) == "0s");
    CHECK(format_bytes(65'536) == "64KiB");
    CHECK(format_bytes(0) == "0");
    CHECK(format_bytes(100) == "100B");
  }
}

#include "http/page.hpp"

#include "http/web/assets.hpp"

#include <string>
#include <string_view>

namespace skein::app {
namespace {

constexpr std::string_view client_name = "skein.js";

// The page loads nothing from elsewhere, runs no inline script, and may open WebSockets. Some browsers do not
// count ws: of the same host as 'self'.
constexpr const char* content_security_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const char* content_type(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return "application/octet-stream";
}

// Assets live as long as the program.
asio::awaitable<response> serve(const web::asset& what) {
  response answer;
  answer.body = what.bytes;
  answer.content_type = content_type(what.name);
  answer.headers.emplace_back("Cache-Control", "no-cache");
  answer.headers.emplace_back("Content-Security-Policy", content_security_policy);
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  co_return answer;
}

// Pages of other hosts may import it, too: it is the same for everybody.
asio::awaitable<response> serve_to_all(const web::asset& what) {
  auto answer = co_await serve(what);
  answer.headers.emplace_back("Access-Control-Allow-Origin", "*");
  co_return answer;
}

}  // namespace

void install_client(server& into) {
  for (const auto& each : web::assets()) {
    if (each.name != client_name) continue;
    into.get("/" + std::string{each.name}, [&each](const request&) { return serve_to_all(each); });
  }
}

void install_page(server& into) {
  install_client(into);
  for (const auto& each : web::assets()) {
    if (each.name == client_name) continue;
    const auto path = each.name == "index.html" ? std::string{"/"} : "/" + std::string{each.name};
    into.get(path, [&each](const request&) { return serve(each); });
  }
}

}  // namespace skein::app

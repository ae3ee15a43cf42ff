#pragma once

// The opening handshake as a business module sees it: a request comes in, an identity or a refusal goes out.

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skein {

namespace asio = boost::asio;

struct client_certificate;

/// The HTTP request that opened a connection, or that a plain endpoint answers. A value, kept in one block of
/// memory because every connection holds one; its views live as long as it does.
class request {
 public:
  request() = default;
  using header_list = std::vector<std::pair<std::string_view, std::string_view>>;

  request(std::string_view method, std::string_view target, const header_list& headers,
          std::string_view remote_address, std::string_view body = {});

  request(const request& other);
  request(request&&) noexcept = default;
  request& operator=(const request& other) { return *this = request{other}; }
  request& operator=(request&&) noexcept = default;
  ~request() = default;

  [[nodiscard]] std::string_view method() const noexcept;
  [[nodiscard]] std::string_view target() const noexcept;
  /// The target without its query.
  [[nodiscard]] std::string_view path() const noexcept;
  /// The undecoded query, without the question mark.
  [[nodiscard]] std::string_view query() const noexcept;
  /// The decoded value of the first query parameter of this name.
  [[nodiscard]] std::optional<std::string> query(std::string_view name) const;
  /// The value of the first header of this name, in any case; empty if there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
  [[nodiscard]] bool has_header(std::string_view name) const noexcept;
  /// All headers in their order.
  [[nodiscard]] header_list headers() const;
  /// How many headers have this name, in any case.
  [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
  /// The client as `address:port`; the address alone where only a proxy knows the port.
  [[nodiscard]] std::string_view remote_address() const noexcept;
  [[nodiscard]] std::string_view body() const noexcept;
  /// The certificate that the client proved to have (tls.hpp); null without TLS, or without a certificate.
  [[nodiscard]] const skein::client_certificate* client_certificate() const noexcept {
    return certificate_.get();
  }
  /// The same, to be kept, or given to a request that is made of this one.
  [[nodiscard]] std::shared_ptr<const skein::client_certificate> share_client_certificate() const noexcept {
    return certificate_;
  }
  void set_client_certificate(std::shared_ptr<const skein::client_certificate> certificate) noexcept {
    certificate_ = std::move(certificate);
  }

 private:
  // In front of the parts stand their sizes: of the method, the target, the remote address, the body, how
  // many headers there are, and each header's name and value. Each takes as few bytes as it needs, because
  // every connection keeps its request.
  struct layout;
  [[nodiscard]] layout parts() const noexcept;
  template <class Visit>
  void each_header(Visit&& visit) const;

  std::unique_ptr<char[]> block_;
  std::shared_ptr<const skein::client_certificate> certificate_;
};

/// Who a connection belongs to.
struct identity {
  std::string user;             ///< empty: anonymous
  boost::json::value claims{};  ///< what the authenticator knows about the user
  /// When the connection is closed with 4001, unless it is renewed (`connection::renew`); empty: never.
  std::optional<std::chrono::sys_seconds> expires{};
};

/// An answer other than 101. `status` is an HTTP status from 400 to 599.
struct refusal {
  unsigned status = 403;
  std::string text;  ///< the body, for people
  std::vector<std::pair<std::string, std::string>> headers{};
};

using admission = std::variant<identity, refusal>;

/// Decides who a request belongs to. Called before the upgrade, on the connection's executor, within the
/// handshake timeout, past which it is cancelled (`terminal`), as it is when its peer keeps others out; an
/// exception counts as status 500.
using authenticator = std::function<asio::awaitable<admission>(const request&)>;

/// Which header trusted proxies write to say who their client is. Only one, because a proxy passes on what it
/// does not know: the other header is the client's own.
enum class forwarded_header : std::uint8_t {
  none,             ///< the peer is the client
  x_forwarded_for,  ///< `X-Forwarded-For: client, proxy`
  forwarded,        ///< RFC 7239
};

/// Which origins may connect (RFC 6455 section 10.2). Without a list and without a callback: requests without
/// an Origin header, and requests whose origin is one of the web (http, https, ws, wss) and has the host and
/// port of the Host header.
struct origin_policy {
  /// Exact origins, `scheme://host[:port]`; `*` allows every origin, there are no other wildcards. Comparison
  /// ignores case, a default port, and how an IPv6 address is written. `null` is never allowed by name.
  std::vector<std::string> allowed;
  /// If set, asked instead of the list; gets the Origin header's value and the request.
  std::function<bool(std::string_view origin, const request&)> accept;
};

/// Whether the policy lets this request in. A request with more than one Origin header is refused.
[[nodiscard]] bool origin_allowed(const origin_policy& policy, const request& what);

/// Whether `origin` is written as an origin: `scheme://host[:port]`, no path, no user, no space.
[[nodiscard]] bool is_origin(std::string_view origin) noexcept;

}  // namespace skein

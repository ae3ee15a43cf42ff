#include "security/tls_tickets.hpp"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdint>
#include <cstring>
#include <ctime>
#include <optional>

namespace skein::detail {
namespace {

using std::chrono::sys_seconds;

/// The time is kept in the place of the pointer, so that there is nothing to live long enough.
static_assert(sizeof(void*) >= sizeof(std::int64_t));

sys_seconds now_of(const SSL* session) noexcept {
  const auto count = reinterpret_cast<std::intptr_t>(SSL_get_app_data(session));
  return sys_seconds{std::chrono::seconds{count}};
}

/// When the full handshake was, as the ticket has it.
std::optional<sys_seconds> begun(SSL_SESSION* session) noexcept {
  void* bytes = nullptr;
  std::size_t size = 0;
  std::int64_t count = 0;
  if (::SSL_SESSION_get0_ticket_appdata(session, &bytes, &size) != 1 || bytes == nullptr ||
      size != sizeof count)
    return std::nullopt;
  std::memcpy(&count, bytes, sizeof count);
  return sys_seconds{std::chrono::seconds{count}};
}

/// A resumed session keeps the time that it came with.
int write_time(SSL* session, void*) {
  auto* const what = ::SSL_get_session(session);
  if (what == nullptr) return 0;
  if (::SSL_session_reused(session) == 1 && begun(what)) return 1;
  const std::int64_t count = now_of(session).time_since_epoch().count();
  return ::SSL_SESSION_set1_ticket_appdata(what, &count, sizeof count);
}

bool is_good(SSL_SESSION* session, sys_seconds now) {
  const auto since = begun(session);
  if (!since || now < *since || now - *since >= ticket_age_with_certificates) return false;
  const auto* const certificate = ::SSL_SESSION_get0_peer(session);
  return certificate == nullptr || now < expiry_of(certificate);
}

SSL_TICKET_RETURN judge(SSL* session, SSL_SESSION* offered, const unsigned char*, std::size_t,
                        SSL_TICKET_STATUS status, void*) {
  const bool read = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
  if (!read || offered == nullptr || !is_good(offered, now_of(session)))
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

}  // namespace

sys_seconds expiry_of(const X509* certificate) {
  std::tm parts{};
  if (::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate), &parts) != 1) return {};
  return sys_seconds{std::chrono::seconds{::timegm(&parts)}};
}

void bound_tickets(SSL_CTX* context) {
  ::SSL_CTX_set_session_ticket_cb(context, &write_time, &judge, nullptr);
}

void set_ticket_time(SSL* session, wall_time now) {
  const auto count = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  SSL_set_app_data(session, reinterpret_cast<void*>(static_cast<std::intptr_t>(count)));
}

}  // namespace skein::detail

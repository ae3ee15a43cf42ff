#pragma once

// How long a client's certificate is good for without being shown: tickets stand for one that was checked
// once, and OpenSSL gives out a fresh one with each resumption.

#include <skein/clock.hpp>

#include <chrono>

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;

namespace skein::detail {

/// From the full handshake on, however often the session is resumed meanwhile.
constexpr std::chrono::seconds ticket_age_with_certificates{300};

/// When a certificate expires; long ago, if that cannot be read.
[[nodiscard]] std::chrono::sys_seconds expiry_of(const x509_st* certificate);

/// Sessions of this context are resumed no later than `ticket_age_with_certificates` after their full
/// handshake, and not once the certificate that the client showed has expired. Else the handshake is a full
/// one.
void bound_tickets(ssl_ctx_st* context);
/// What time it is for `bound_tickets`.
void set_ticket_time(ssl_st* session, wall_time now);

}  // namespace skein::detail

#pragma once

// TLS: which certificates the server shows, whose certificates it wants to see, and who a client with a
// certificate is.
//
// TLS 1.2 and 1.3; forward secrecy and authenticated encryption only; no renegotiation, no compression, no
// early data. Clients resume sessions with tickets (RFC 5077, RFC 8446 section 2.2), which a reload makes
// void, and which stand for a client's certificate no longer than five minutes.

#include <skein/handshake.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace skein {

/// What loading certificates fails with; `what()` names the file and the reason.
struct tls_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct tls_options {
  /// PEM, each with its chain: the server's certificate first, then the authorities between it and the root.
  /// Empty: no TLS. A client is shown the first one that is valid for the name that it asks for (SNI, RFC
  /// 6066 section 3), wildcards included (RFC 6125 section 6.4.3); if there is none, or it names nothing, the
  /// very first.
  std::vector<std::string> certificate_files;
  /// PEM, not encrypted: the private key of each certificate, in the same order.
  std::vector<std::string> key_files;
  /// PEM: the authorities whose certificates clients may show. Empty: clients are not asked for any.
  std::string client_ca_file;
  /// A client without a certificate is refused in the handshake; if false, it is let in without one. A
  /// certificate that is not valid is refused either way. Of no meaning without `client_ca_file`.
  bool client_certificate_required = true;
};

/// A client's certificate that was found valid (RFC 5280). Names that contain a zero byte are left out.
struct client_certificate {
  std::string subject;      ///< as RFC 4514 writes it
  std::string common_name;  ///< of the subject, the most specific; may be empty
  std::string issuer;       ///< as RFC 4514 writes it
  std::string serial;       ///< in hexadecimal digits
  std::string fingerprint;  ///< SHA-256 of the whole, in lower-case hexadecimal digits
  std::vector<std::string> uris, emails, dns_names;  ///< alternative names of the subject
  std::chrono::sys_seconds not_after{};
};

/// Who a client with this certificate is, if the route has no authenticator that knows better: the user is
/// the first URI among the alternative names (as SPIFFE has it), else the first e-mail address, else the
/// common name; the claims are the whole certificate. It expires when the certificate does.
[[nodiscard]] identity identity_of(const client_certificate& certificate);

}  // namespace skein

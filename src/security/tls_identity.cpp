// Who a client is, from its certificate.

#include "security/tls_context.hpp"
#include "security/tls_tickets.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <string_view>
#include <utility>

namespace skein::detail {
namespace {

/// As UTF-8; nothing if it cannot be, or contains a zero byte, by which a name could pass for another.
std::string text_of(const ASN1_STRING* what) {
  unsigned char* bytes = nullptr;
  const int size = what == nullptr ? -1 : ::ASN1_STRING_to_UTF8(&bytes, what);
  if (size < 0) return {};
  std::string text{reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
  ::OPENSSL_free(bytes);
  return text.find('\0') == std::string::npos ? text : std::string{};
}

std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&::BIO_free)> out{::BIO_new(::BIO_s_mem()), &::BIO_free};
  // RFC 4514 writes as RFC 2253 does, of which it is the successor.
  if (!out || ::X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
    return {};
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &bytes);
  return size > 0 ? std::string{bytes, static_cast<std::size_t>(size)} : std::string{};
}

std::string common_name_of(const X509_NAME* subject) {
  std::string found;
  for (int at = -1; (at = ::X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
    found = text_of(::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(subject, at)));
  }
  return found;
}

std::string hexadecimal(const unsigned char* bytes, std::size_t size) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += digits[bytes[i] >> 4U];
    text += digits[bytes[i] & 0xfU];
  }
  return text;
}

std::string serial_of(const X509* certificate) {
  const std::unique_ptr<BIGNUM, decltype(&::BN_free)> number{
      ::ASN1_INTEGER_to_BN(::X509_get0_serialNumber(certificate), nullptr), &::BN_free};
  char* const digits = number ? ::BN_bn2hex(number.get()) : nullptr;
  if (digits == nullptr) return {};
  std::string text{digits};
  ::OPENSSL_free(digits);
  return text;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (::X509_digest(certificate, ::EVP_sha256(), digest.data(), &size) != 1) return {};
  return hexadecimal(digest.data(), size);
}

void add_alternative_names(client_certificate& to, const X509* certificate) {
  auto* const names =
      static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const auto* const name = sk_GENERAL_NAME_value(names, i);
    auto* const list = name->type == GEN_URI     ? &to.uris
                       : name->type == GEN_EMAIL ? &to.emails
                       : name->type == GEN_DNS   ? &to.dns_names
                                                 : nullptr;
    if (list == nullptr) continue;
    if (auto text = text_of(name->d.ia5); !text.empty()) list->push_back(std::move(text));
  }
  ::GENERAL_NAMES_free(names);
}

boost::json::array array_of(const std::vector<std::string>& texts) {
  boost::json::array result;
  for (const auto& text : texts) result.emplace_back(text);
  return result;
}

}  // namespace

std::shared_ptr<const client_certificate> peer_certificate(const tls_session& session) {
  const auto* const certificate = ::SSL_get0_peer_certificate(session.native());
  if (certificate == nullptr || ::SSL_get_verify_result(session.native()) != X509_V_OK) return nullptr;
  auto result = std::make_shared<client_certificate>();
  const auto* const subject = ::X509_get_subject_name(certificate);
  result->subject = text_of(subject);
  result->common_name = common_name_of(subject);
  result->issuer = text_of(::X509_get_issuer_name(certificate));
  result->serial = serial_of(certificate);
  result->fingerprint = fingerprint_of(certificate);
  result->not_after = expiry_of(certificate);
  add_alternative_names(*result, certificate);
  return result;
}

}  // namespace skein::detail

namespace skein {

identity identity_of(const client_certificate& certificate) {
  identity who;
  if (!certificate.uris.empty()) {
    who.user = certificate.uris.front();
  } else if (!certificate.emails.empty()) {
    who.user = certificate.emails.front();
  } else {
    who.user = certificate.common_name;
  }
  who.claims = boost::json::object{{"subject", certificate.subject},
                                   {"common_name", certificate.common_name},
                                   {"issuer", certificate.issuer},
                                   {"serial", certificate.serial},
                                   {"fingerprint", certificate.fingerprint},
                                   {"uris", detail::array_of(certificate.uris)},
                                   {"emails", detail::array_of(certificate.emails)},
                                   {"dns_names", detail::array_of(certificate.dns_names)},
                                   {"not_after", certificate.not_after.time_since_epoch().count()}};
  who.expires = certificate.not_after;
  return who;
}

}  // namespace skein

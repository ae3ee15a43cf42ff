// Loading certificates, choosing among them, and who a client's certificate names.

#include "security/tls_context.hpp"

#include "../tls_files.hpp"

#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

using namespace skein;
using namespace skein::test;

namespace {

/// What loading these fails with; empty if it does not.
std::string problem_with(const tls_options& options) {
  try {
    const detail::tls_context loaded{options};
    return {};
  } catch (const tls_error& e) {
    CHECK(::ERR_peek_error() == 0);  // nothing is left for whoever calls OpenSSL next
    return e.what();
  }
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string encrypted(const std::string& key) {
  BIO* const in = BIO_new_mem_buf(key.data(), static_cast<int>(key.size()));
  EVP_PKEY* const plain = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
  BIO* const out = BIO_new(BIO_s_mem());
  char passphrase[] = "secret";
  PEM_write_bio_PKCS8PrivateKey(out, plain, EVP_aes_128_cbc(), passphrase, 6, nullptr, nullptr);
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out, &bytes);
  std::string text{bytes, static_cast<std::size_t>(size)};
  EVP_PKEY_free(plain);
  BIO_free(in);
  BIO_free(out);
  return text;
}

}  // namespace

TEST_SUITE("TLS context") {
  TEST_CASE("what cannot be used is refused with the file and the reason") {
    const temporary_folder folder;
    const authority root{"root"};
    const auto good = root.issue({.common_name = "good"});
    const auto other = root.issue({.common_name = "other"});
    const auto certificate = folder.write("good.crt", good.certificate);
    const auto key = folder.write("good.key", good.key);
    const auto with = [&](std::string certificate_file, std::string key_file, std::string ca = {}) {
      tls_options options;
      options.certificate_files = {certificate, std::move(certificate_file)};
      options.key_files = {key, std::move(key_file)};
      options.client_ca_file = std::move(ca);
      return problem_with(options);
    };
    CHECK(with(certificate, key).empty());
    const auto missing = folder.path("missing");
    CHECK(with(missing, key) == missing + ": cannot be read: No such file or directory");
    CHECK(with(certificate, missing) == missing + ": cannot be read: No such file or directory");
    CHECK(with(certificate, key, missing) == missing + ": cannot be read: No such file or directory");
    const auto directory = folder.path("");
    CHECK(contains(with(directory, key), "Is a directory"));
    const auto empty = folder.write("empty", "");
    CHECK(with(empty, key) == empty + ": is empty");
    const auto nonsense = folder.write("nonsense", "-----BEGIN NONSENSE-----\n");
    CHECK(contains(with(nonsense, key), nonsense + ": is not a certificate"));
    CHECK(contains(with(key, key), key + ": is not a certificate"));
    CHECK(contains(with(certificate, nonsense), nonsense + ": is not the private key of " + certificate));
    CHECK(contains(with(certificate, certificate), certificate + ": is not the private key of"));
    CHECK(contains(with(certificate, key, nonsense), nonsense + ": cannot be used to check clients"));
    const auto other_key = folder.write("other.key", other.key);
    CHECK(contains(with(certificate, other_key), "key values mismatch"));
    const auto rsa_key = folder.write("rsa.key", root.issue({.rsa = true}).key);
    CHECK(contains(with(certificate, rsa_key), rsa_key + ": is not the private key of " + certificate));
    const auto locked = folder.write("locked.key", encrypted(good.key));
    CHECK(contains(with(certificate, locked), locked + ": is not the private key of"));
    const auto broken = folder.write("broken.crt", good.certificate.substr(0, good.certificate.size() / 2));
    CHECK(contains(with(broken, key), broken + ": is not a certificate"));
  }

  TEST_CASE("the first certificate that fits a name is chosen, else the very first") {
    const temporary_folder folder;
    const authority root{"root"};
    tls_options options;
    int number = 0;
    for (const std::vector<std::string>& names : {std::vector<std::string>{"DNS:a.example"},
                                                  {"DNS:*.b.example", "DNS:b.example"},
                                                  {"DNS:x.b.example"},
                                                  {}}) {
      const auto made = root.issue({.common_name = "common.example", .alternative_names = names});
      options.certificate_files.push_back(folder.write(std::to_string(number) + ".crt", made.certificate));
      options.key_files.push_back(folder.write(std::to_string(number) + ".key", made.key));
      ++number;
    }
    const detail::tls_context loaded{options};
    CHECK(loaded.choose("") == 0);
    CHECK(loaded.choose("a.example") == 0);
    CHECK(loaded.choose("b.example") == 1);
    CHECK(loaded.choose("x.b.example") == 1);
    CHECK(loaded.choose("X.B.EXAMPLE") == 1);
    CHECK(loaded.choose("x.y.b.example") == 0);
    CHECK(loaded.choose("common.example") == 3);  // a common name counts where there are no alternative names
    CHECK(loaded.choose("c.example") == 0);
    CHECK(loaded.choose(std::string(10'000, 'a')) == 0);
  }
}

TEST_SUITE("client certificate") {
  TEST_CASE("the user is the first URI, else the first address, else the common name") {
    client_certificate all;
    all.common_name = "Ada";
    all.emails = {"ada@example.org", "countess@example.org"};
    all.uris = {"spiffe://example.org/ada", "urn:x"};
    all.dns_names = {"ada.example.org"};
    CHECK(identity_of(all).user == "spiffe://example.org/ada");
    all.uris.clear();
    CHECK(identity_of(all).user == "ada@example.org");
    all.emails.clear();
    CHECK(identity_of(all).user == "Ada");
    all.common_name.clear();
    CHECK(identity_of(all).user.empty());
  }

  TEST_CASE("the claims are the whole certificate") {
    client_certificate one;
    one.subject = "CN=Ada";
    one.common_name = "Ada";
    one.issuer = "CN=root";
    one.serial = "0A";
    one.fingerprint = "00ff";
    one.emails = {"ada@example.org"};
    one.not_after = std::chrono::sys_seconds{std::chrono::seconds{1'800'000'000}};
    CHECK(boost::json::serialize(identity_of(one).claims) ==
          R"({"subject":"CN=Ada","common_name":"Ada","issuer":"CN=root","serial":"0A","fingerprint":"00ff",)"
          R"("uris":[],"emails":["ada@example.org"],"dns_names":[],"not_after":1800000000})");
  }

  TEST_CASE("a request keeps its certificate when it is copied") {
    request one{"GET", "/", {}, "memory"};
    CHECK(one.client_certificate() == nullptr);
    one.set_client_certificate(std::make_shared<const client_certificate>());
    const request copy{one};
    CHECK(copy.client_certificate() == one.client_certificate());
    CHECK(copy.client_certificate() != nullptr);
  }
}

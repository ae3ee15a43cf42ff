// A fuzz target: any bytes as a token, as a header and a payload under a good signature, as a JWK set and as
// PEM. A token with a good signature is accepted only if it says what the claims are told to be.
//
// An input: a byte that says which, and then the bytes; between header and payload stands a line feed.

#include <skein/jwt.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

const std::string secret(32, 's');
const std::chrono::system_clock::time_point now{std::chrono::seconds{1'700'000'000}};

void need(bool good) {
  if (!good) std::abort();
}

std::string base64url(std::string_view bytes) {
  std::string text(bytes.size() / 3 * 4 + 5, '\0');
  const auto size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  while (text.ends_with('=')) text.pop_back();
  for (auto& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

std::string signed_token(std::string_view header, std::string_view payload) {
  const auto text = base64url(header) + "." + base64url(payload);
  std::array<unsigned char, 32> mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return text + "." + base64url({reinterpret_cast<const char*>(mac.data()), size});
}

skein::jwt_verifier make_verifier() {
  skein::jwt_options options;
  options.audiences = {"skein"};
  options.one_time_capacity = 0;
  return skein::jwt_verifier{{skein::jwt_key::from_secret(skein::jwt_algorithm::hs256, secret)}, options};
}

void check_accepted(const skein::jwt_claims& claims) {
  need(!claims.subject.empty() && !claims.audiences.empty());
  need(claims.expires + std::chrono::seconds{30} > std::chrono::floor<std::chrono::seconds>(now));
  need(claims.all.contains("exp") && claims.all.contains("aud") && claims.all.at("sub").is_string());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const auto verifier = make_verifier();
  if (size == 0) return 0;
  const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
  switch (data[0] % 4) {
    case 0:
      // Nobody finds a signature by chance.
      need(std::holds_alternative<skein::jwt_refusal>(verifier.verify(rest, now)));
      break;
    case 1: {
      const auto line = rest.find('\n');
      if (line == std::string_view::npos) break;
      const auto verdict = verifier.verify(signed_token(rest.substr(0, line), rest.substr(line + 1)), now);
      if (const auto* claims = std::get_if<skein::jwt_claims>(&verdict)) check_accepted(*claims);
      break;
    }
    case 2:
      try {
        for (const auto& key : skein::parse_jwks(rest).keys) {
          const skein::jwt_verifier other{{key}};
          (void)other.verify(signed_token(R"({"alg":"HS256"})", "{}"), now);
        }
      } catch (const skein::jwt_key_error&) {
      }
      break;
    default:
      try {
        (void)skein::jwt_key::from_pem(skein::jwt_algorithm::es256, rest);
      } catch (const skein::jwt_key_error&) {
      }
      break;
  }
  need(ERR_peek_error() == 0);
  return 0;
}

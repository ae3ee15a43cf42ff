#include "handshake.hpp"

#include <openssl/evp.h>

#include <array>
#include <cctype>
#include <cstring>

namespace skein::bench {
namespace {

std::string base64(const unsigned char* data, std::size_t size) {
  std::string text(4 * ((size + 2) / 3) + 1, '\0');  // the encoder ends with a zero byte
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), data, static_cast<int>(size));
  text.pop_back();
  return text;
}

std::string accept_value(std::string text) {
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  return base64(digest.data(), digest.size());
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i])))
      return false;
  return true;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view field(std::string_view response, std::string_view name) {
  for (auto line = response.find("\r\n"); line != std::string_view::npos;) {
    const auto end = response.find("\r\n", line + 2);
    if (end == std::string_view::npos) break;
    const auto text = response.substr(line + 2, end - line - 2);
    const auto colon = text.find(':');
    if (colon != std::string_view::npos && same_ignoring_case(text.substr(0, colon), name))
      return trimmed(text.substr(colon + 1));
    line = end;
  }
  return {};
}

}  // namespace

std::string handshake_key(std::uint32_t index) {
  std::array<unsigned char, 16> nonce{'s', 'k', 'e', 'i', 'n', '-', 'b', 'e', 'n', 'c', 'h'};
  std::memcpy(nonce.data() + 12, &index, sizeof index);
  return base64(nonce.data(), nonce.size());
}

std::string upgrade_request(const handshake_settings& settings, std::uint32_t index) {
  std::string request = "GET " + settings.target.path + " HTTP/1.1\r\nHost: " + settings.target.authority +
                        "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
                        "\r\nSec-WebSocket-Key: " +
                        handshake_key(index) + "\r\n";
  if (settings.offer_deflate)
    request +=
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; "
        "server_no_context_takeover\r\n";
  for (const auto& line : settings.headers) request += line + "\r\n";
  return request + "\r\n";
}

upgrade_answer read_response(std::string_view response, const handshake_settings& settings,
                             std::uint32_t index) {
  upgrade_answer answer;
  if (!response.starts_with("HTTP/1.1 101")) {
    answer.problem = "answered " + std::string{response.substr(0, response.find("\r\n"))};
    return answer;
  }
  if (field(response, "sec-websocket-accept") != accept_value(handshake_key(index))) {
    answer.problem = "answered with a wrong Sec-WebSocket-Accept";
    return answer;
  }
  const auto extensions = field(response, "sec-websocket-extensions");
  if (!extensions.empty()) {
    answer.deflate = true;
    if (!settings.offer_deflate || !extensions.starts_with("permessage-deflate") ||
        extensions.find("server_no_context_takeover") == std::string_view::npos) {
      answer.problem = "answered with extensions that were not offered: " + std::string{extensions};
      return answer;
    }
  }
  answer.accepted = true;
  return answer;
}

}  // namespace skein::bench

// A fuzz target: any bytes as the beginning of a TLS session, cut anywhere, over a stream that may be full.
// Nobody gets through without a key; a session that has failed stays so; OpenSSL's queue is left empty.
//
// An input: a byte of settings, a byte of cuts, and what the client sends.

#include "connection/tls_session.hpp"
#include "fuzz_input.hpp"
#include "security/tls_context.hpp"
#include "tls_files.hpp"

#include <boost/asio/error.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <random>

namespace {

using namespace skein;
using skein::detail::tls_session;

class memory_stream final : public detail::byte_stream {
 public:
  std::size_t read_some(std::span<char> into, detail::error_code& ec) noexcept override {
    const auto n = std::min(into.size(), arrived.size());
    std::copy_n(arrived.data(), n, into.data());
    arrived.erase(0, n);
    ec = {};
    if (n == 0 && !into.empty())
      ec = ended ? boost::asio::error::eof : detail::error_code{boost::asio::error::would_block};
    return n;
  }
  std::size_t write_some(std::span<const iovec> buffers, detail::error_code& ec) noexcept override {
    std::size_t written = 0;
    for (const auto& buffer : buffers) {
      const auto n = std::min(buffer.iov_len, room);
      room -= n;
      written += n;
      if (n < buffer.iov_len) break;
    }
    ec = {};
    if (written == 0 && !buffers.empty()) ec = boost::asio::error::would_block;
    total += written;
    return written;
  }
  std::string arrived;
  std::size_t room = 0, total = 0;
  bool ended = false;
};

/// The contexts: one certificate; two, of which clients must have one too.
const detail::tls_context& context(bool mutual) {
  static const test::temporary_folder folder;
  static const test::authority root{"root"};
  const auto make = [](bool with_clients) {
    const auto prefix = std::string{with_clients ? "m" : "s"};
    tls_options options;
    for (const auto* name : {"localhost", "example.com"}) {
      const auto issued =
          root.issue({.common_name = name, .alternative_names = {std::string{"DNS:"} + name}});
      options.certificate_files.push_back(folder.write(prefix + name + ".crt", issued.certificate));
      options.key_files.push_back(folder.write(prefix + name + ".key", issued.key));
    }
    if (with_clients) options.client_ca_file = folder.write("ca", root.certificate());
    return detail::tls_context{options};
  };
  static const auto plain = make(false), both = make(true);
  return mutual ? both : plain;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto settings = data[0];
  const auto session = context((settings & 1U) != 0).make_session({});
  memory_stream wire;
  session->attach(wire);
  std::minstd_rand cuts{data[1] + 1U};
  std::string_view rest{reinterpret_cast<const char*>(data) + 2, size - 2};
  bool failed = false;
  for (int step = 0; step < 64; ++step) {
    wire.room += (settings & 2U) != 0 ? cuts() % 600U : 1U << 20U;
    const auto part = rest.substr(0, (settings & 4U) != 0 ? 1U + cuts() % 200U : rest.size());
    wire.arrived += part;
    rest.remove_prefix(part.size());
    wire.ended = rest.empty() && (settings & 8U) != 0;
    const auto progress = session->handshake();
    fuzz::require(progress != tls_session::progress::done && !session->established(), "without a key");
    fuzz::require(!failed || progress == tls_session::progress::failed, "a failed session goes on");
    failed = progress == tls_session::progress::failed;
    fuzz::require(!session->met_http() || failed, "HTTP is no reason to go on");
    fuzz::require(progress != tls_session::progress::wants_write || session->holds_unsent(),
                  "waits to write nothing");
    fuzz::require(ERR_peek_error() == 0, "something is left in OpenSSL's queue");
    if (rest.empty() && step > 3) break;
  }
  fuzz::require(wire.total < 64U * 1024U, "far more is answered than there is to say");
  if ((settings & 16U) == 0) return 0;
  // What is not established can be neither read nor written.
  detail::error_code ec;
  std::array<char, 64> into{};
  fuzz::require(session->read_some(into, ec) == 0 && ec, "read from a session that is none");
  session->send_close_notify();
  fuzz::require(ERR_peek_error() == 0, "something is left in OpenSSL's queue");
  return 0;
}

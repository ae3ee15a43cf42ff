#pragma once

// The bytes of one connection, over TCP or over TLS on it: its users see no difference. Non-blocking; the
// user watches `fd()` for reading, and for writing while `wants_write()`.

#include "tls.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skein::bench {

/// Where a stream connects to, and from; `tls` is null for plain TCP.
struct route {
  sockaddr_storage target{};
  socklen_t target_size = 0;
  std::optional<in_addr_t> source;  // of IPv4, in host byte order
  const tls_context* tls = nullptr;
};

class stream {
 public:
  enum class status : std::uint8_t { done, again, ended, failed };

  struct moved {
    status what = status::done;
    std::size_t bytes = 0;
  };

  stream() = default;
  ~stream() { close(); }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// Starts connecting: `again`, or `failed`.
  status connect(const route& way);

  /// To be called when the socket is ready for what it waits for, until it is not `again`.
  status establish();

  /// What is there; `ended` when the other side has ended it.
  moved read(std::span<char> room);

  /// As much as fits; `again` when something is left.
  moved write(std::string_view bytes);

  [[nodiscard]] bool wants_write() const noexcept { return wants_write_; }

  /// The last read filled its room and there is more, of which epoll may not tell: read again.
  [[nodiscard]] bool wants_read_again() const noexcept { return wants_read_again_; }

  /// Limits what the kernel keeps of what the other side sends.
  void limit_receive_buffer(int bytes) noexcept;

  /// Why the last call failed; only right after it.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  void close() noexcept;
  /// Ends it with RST, and what is under way is thrown away.
  void reset() noexcept;

 private:
  status fail(const char* what);
  status tls_status(int result, const char* what);
  moved read_tls(std::span<char> room);
  moved write_tls(std::string_view bytes);

  int fd_ = -1;
  bool connected_ = false;
  bool wants_write_ = false;
  bool wants_read_again_ = false;
  ssl_st* session_ = nullptr;
  const tls_context* tls_ = nullptr;
  std::string problem_;
};

}  // namespace skein::bench

#pragma once

// A client that can do everything wrong: a plain socket, and frames made by hand. Every wait has a deadline,
// past which it throws. Without Asio, so that it compiles at once.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::test {

/// How long a test waits for what must come.
inline constexpr std::chrono::seconds patience{20};

struct timed_out : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Opcodes as numbers: tests send the reserved ones too.
namespace op {
inline constexpr unsigned continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10;
}

/// RSV1, RSV2 and RSV3 as they stand in a frame's first byte, moved down.
inline constexpr unsigned rsv1 = 4, rsv2 = 2, rsv3 = 1;

struct frame {
  unsigned opcode = 0;
  std::string payload{};
  bool fin = true;
  unsigned rsv = 0;
  friend bool operator==(const frame&, const frame&) = default;
};

/// How wide the payload's length is written; only `shortest` is always right.
enum class length_form : std::uint8_t { shortest, in_7_bits, in_16_bits, in_64_bits };

struct frame_form {
  bool fin = true;
  unsigned rsv = 0;
  bool masked = true;
  std::uint32_t mask = 0x37fa213d;
  length_form length = length_form::shortest;
  std::optional<std::uint64_t> declared{};  ///< the length that is written, if not the payload's
};

[[nodiscard]] std::string make_frame(unsigned opcode, std::string_view payload, const frame_form& form = {});
[[nodiscard]] std::string text_frame(std::string_view payload, bool fin = true);
[[nodiscard]] std::string binary_frame(std::string_view payload, bool fin = true);
[[nodiscard]] std::string continuation_frame(std::string_view payload, bool fin = true);
[[nodiscard]] std::string ping_frame(std::string_view payload = {});
[[nodiscard]] std::string pong_frame(std::string_view payload = {});
/// `code` 0: a close frame without a body.
[[nodiscard]] std::string close_frame(unsigned code = 1000, std::string_view text = {});

/// The code in the payload of a close frame; 0 if it has none.
[[nodiscard]] unsigned close_code_of(std::string_view payload);

/// The key of RFC 6455 section 1.3, and what must answer it.
inline constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr std::string_view sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An opening handshake; `more` are further header lines, each with its CRLF.
[[nodiscard]] std::string upgrade_request(std::string_view path, std::string_view more = {});

struct http_answer {
  unsigned status = 0;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};

  [[nodiscard]] bool has(std::string_view name) const;
  /// The value of the first header of this name, in any case; empty if there is none.
  [[nodiscard]] std::string header(std::string_view name) const;
};

/// How the server's half of the stream stands.
enum class stream_end : std::uint8_t { open, closed, reset };

/// The rest of a conversation, up to the end of the stream.
struct conclusion {
  std::vector<frame> frames{};   ///< before the close frame
  std::optional<frame> close{};  ///< nothing if there was none
  std::size_t bytes_after_close = 0;
  stream_end end = stream_end::open;

  /// The code of the close frame: 0 if it had none, -1 if there was no close frame.
  [[nodiscard]] int code() const { return close ? static_cast<int>(close_code_of(close->payload)) : -1; }
};

class raw_client {
 public:
  /// Connects. `receive_buffer` in bytes, 0: the system's; `from` an address of IPv4, as a number.
  explicit raw_client(std::uint16_t port, int receive_buffer = 0, std::uint32_t from = 0);
  raw_client(raw_client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)), end_(other.end_) {}
  raw_client& operator=(raw_client&&) = delete;
  virtual ~raw_client() { close(); }

  /// False if the connection has gone.
  bool send(std::string_view bytes);
  /// Each byte in a segment of its own, as far as a sender can see to it.
  bool send_bytewise(std::string_view bytes);

  /// The opening handshake with `upgrade_request`.
  http_answer open(std::string_view path = "/echo", std::string_view more_headers = {});
  /// An HTTP response. `head_only`: to a HEAD request, without content.
  http_answer read_answer(bool head_only = false);

  /// The next frame; nothing at the end of the stream.
  std::optional<frame> read_frame();
  /// The next data frame or close frame; pongs and pings are skipped.
  std::optional<frame> read_message();
  /// Reads until the stream ends.
  conclusion read_conclusion();
  /// Reads and throws away until the stream ends; says how it did.
  stream_end read_to_end();
  /// Whether there is something to read, or the stream has ended, within this time.
  [[nodiscard]] bool readable_within(std::chrono::milliseconds limit);
  /// Takes what has arrived, at most `most` bytes; does not wait. Returns how many bytes came.
  std::size_t take(std::size_t most);
  [[nodiscard]] stream_end end() const noexcept { return end_; }

  virtual void finish_sending();  ///< sends the end of the stream
  void reset();                   ///< goes away as a crashed peer does
  void close();

 protected:
  [[nodiscard]] int descriptor() const noexcept { return fd_; }
  /// As `send` and `recv` without waiting.
  virtual long put(std::string_view bytes);
  virtual long get(char* into, std::size_t size);

 private:
  bool fill();  // waits for more; false at the end of the stream

  int fd_ = -1;
  std::string received_;
  stream_end end_ = stream_end::open;
};

/// Waits until a condition holds; whether it did within `limit`.
template <class Condition>
[[nodiscard]] bool eventually(Condition holds, std::chrono::milliseconds limit = patience);

namespace detail {
void pause_briefly();
}

template <class Condition>
bool eventually(Condition holds, std::chrono::milliseconds limit) {
  for (const auto until = std::chrono::steady_clock::now() + limit; !holds(); detail::pause_briefly()) {
    if (std::chrono::steady_clock::now() > until) return false;
  }
  return true;
}

}  // namespace skein::test

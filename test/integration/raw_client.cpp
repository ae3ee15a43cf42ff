#include "raw_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <poll.h>
#include <system_error>

namespace skein::test {
namespace {

using clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

// Whether the descriptor became ready; an error or a hang-up counts, the next operation says which.
bool ready(int fd, short events, std::chrono::milliseconds limit) {
  const auto until = clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
    pollfd entry{fd, events, 0};
    const int n = ::poll(&entry, 1, static_cast<int>(std::max<long long>(left, 0)));
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) fail("poll");
  }
}

// Both ends of every connection are in the test's process; a soft limit of 1,024 descriptors is common.
const bool more_descriptors = [] {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return false;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 8'192);
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0;
}();

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

namespace detail {
void pause_briefly() {
  ::poll(nullptr, 0, 1);
}
}  // namespace detail

// --- Frames
// --------------------------------------------------------------------------------------------------------

std::string make_frame(unsigned opcode, std::string_view payload, const frame_form& form) {
  const std::uint64_t length = form.declared.value_or(payload.size());
  auto wide = form.length;
  if (wide == length_form::shortest) {
    wide = length < 126      ? length_form::in_7_bits
           : length < 65'536 ? length_form::in_16_bits
                             : length_form::in_64_bits;
  }
  const unsigned mask_bit = form.masked ? 0x80 : 0;
  std::string out;
  out.reserve(payload.size() + 14);
  out += static_cast<char>((form.fin ? 0x80U : 0U) | form.rsv << 4U | opcode);
  const auto append = [&out](std::uint64_t value, unsigned bytes) {
    for (unsigned i = bytes; i > 0; --i) out += static_cast<char>(value >> 8U * (i - 1));
  };
  switch (wide) {
    case length_form::in_16_bits:
      append(mask_bit | 126, 1);
      append(length, 2);
      break;
    case length_form::in_64_bits:
      append(mask_bit | 127, 1);
      append(length, 8);
      break;
    default:
      append(mask_bit | length, 1);
  }
  if (!form.masked) return out.append(payload);
  append(form.mask, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out +=
        static_cast<char>(static_cast<unsigned char>(payload[i]) ^ (form.mask >> 8U * (3 - i % 4) & 0xffU));
  }
  return out;
}

std::string text_frame(std::string_view payload, bool fin) {
  return make_frame(op::text, payload, {.fin = fin});
}
std::string binary_frame(std::string_view payload, bool fin) {
  return make_frame(op::binary, payload, {.fin = fin});
}
std::string continuation_frame(std::string_view payload, bool fin) {
  return make_frame(op::continuation, payload, {.fin = fin});
}
std::string ping_frame(std::string_view payload) {
  return make_frame(op::ping, payload);
}
std::string pong_frame(std::string_view payload) {
  return make_frame(op::pong, payload);
}

std::string close_frame(unsigned code, std::string_view text) {
  if (code == 0) return make_frame(op::close, {});
  std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)};
  payload += text;
  return make_frame(op::close, payload);
}

unsigned close_code_of(std::string_view payload) {
  if (payload.size() < 2) return 0;
  return static_cast<unsigned>(static_cast<unsigned char>(payload[0])) << 8U |
         static_cast<unsigned char>(payload[1]);
}

// --- HTTP
// ----------------------------------------------------------------------------------------------------------

std::string upgrade_request(std::string_view path, std::string_view more) {
  std::string out = "GET ";
  out.append(path).append(" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
  out.append("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ").append(sample_key).append("\r\n");
  return out.append(more).append("\r\n");
}

bool http_answer::has(std::string_view name) const {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& one) { return same_name(one.first, name); });
}

std::string http_answer::header(std::string_view name) const {
  for (const auto& [stored, value] : headers) {
    if (same_name(stored, name)) return value;
  }
  return {};
}

// --- The client
// ----------------------------------------------------------------------------------------------------

raw_client::raw_client(std::uint16_t port, int receive_buffer, std::uint32_t from)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (fd_ < 0) fail("socket");
  try {
    // Before connecting: the window is agreed on then.
    if (receive_buffer > 0 &&
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) != 0) {
      fail("SO_RCVBUF");
    }
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    if (from != 0) {
      to.sin_addr.s_addr = htonl(from);
      if (::bind(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("bind");
    }
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  } catch (...) {
    close();
    throw;
  }
}

bool raw_client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = put(bytes);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!ready(fd_, POLLOUT, patience)) throw timed_out{"the server does not read"};
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

long raw_client::put(std::string_view bytes) {
  return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

long raw_client::get(char* into, std::size_t size) {
  return ::recv(fd_, into, size, MSG_DONTWAIT);
}

bool raw_client::send_bytewise(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!send(bytes.substr(i, 1))) return false;
  }
  return true;
}

bool raw_client::readable_within(std::chrono::milliseconds limit) {
  return !received_.empty() || end_ != stream_end::open || ready(fd_, POLLIN, limit);
}

std::size_t raw_client::take(std::size_t most) {
  if (end_ != stream_end::open || most == 0) return 0;
  const auto old = received_.size();
  received_.resize(old + most);
  const auto n = get(received_.data() + old, most);
  const auto why = errno;
  received_.resize(old + static_cast<std::size_t>(std::max(n, 0L)));
  if (n == 0) end_ = stream_end::closed;
  if (n < 0 && why != EAGAIN && why != EINTR) end_ = stream_end::reset;
  return received_.size() - old;
}

bool raw_client::fill() {
  while (end_ == stream_end::open) {
    if (take(64 * 1024) > 0) return true;
    if (end_ == stream_end::open && !ready(fd_, POLLIN, patience))
      throw timed_out{"the server does not answer"};
  }
  return false;
}

http_answer raw_client::open(std::string_view path, std::string_view more_headers) {
  send(upgrade_request(path, more_headers));
  return read_answer();
}

http_answer raw_client::read_answer(bool head_only) {
  http_answer answer;
  std::size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return answer;  // status 0
  }
  const auto head = received_.substr(0, end + 2);
  received_.erase(0, end + 4);
  auto rest = std::string_view{head};
  if (!rest.starts_with("HTTP/1.") || rest.size() < 12) throw std::runtime_error{"not an HTTP response"};
  std::from_chars(rest.data() + 9, rest.data() + 12, answer.status);
  rest.remove_prefix(rest.find("\r\n") + 2);
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(line.size() + 2);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) throw std::runtime_error{"not a header line"};
    auto value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    answer.headers.emplace_back(line.substr(0, colon), value);
  }
  if (head_only || answer.status / 100 == 1 || answer.status == 204 || answer.status == 304) return answer;
  std::size_t length = 0;
  const auto written = answer.header("Content-Length");
  std::from_chars(written.data(), written.data() + written.size(), length);
  while (received_.size() < length) {
    if (!fill()) throw std::runtime_error{"the response ends too early"};
  }
  answer.body = received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

std::optional<frame> raw_client::read_frame() {
  const auto byte = [this](std::size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(received_[i]));
  };
  const auto have = [this](std::size_t n) {
    while (received_.size() < n) {
      if (!fill()) return false;
    }
    return true;
  };
  if (!have(2)) return std::nullopt;
  std::uint64_t length = byte(1) & 0x7fU;
  if ((byte(1) & 0x80U) != 0) throw std::runtime_error{"the server masked a frame"};
  std::size_t header = 2;
  if (length >= 126) {
    const unsigned wide = length == 126 ? 2 : 8;
    header += wide;
    if (!have(header)) return std::nullopt;
    length = 0;
    for (std::size_t i = 2; i < header; ++i) length = length << 8U | byte(i);
    if (length < 126 || (wide == 8 && length < 65'536))
      throw std::runtime_error{"a length that is not the shortest"};
  }
  if (length > 64U << 20U) throw std::runtime_error{"the server's frame is too long to be true"};
  if (!have(header + length)) return std::nullopt;
  frame result;
  result.opcode = byte(0) & 0xfU;
  result.fin = (byte(0) & 0x80U) != 0;
  result.rsv = byte(0) >> 4U & 7U;
  result.payload = received_.substr(header, length);
  received_.erase(0, header + length);
  return result;
}

std::optional<frame> raw_client::read_message() {
  for (;;) {
    auto next = read_frame();
    if (!next || (next->opcode != op::ping && next->opcode != op::pong)) return next;
  }
}

conclusion raw_client::read_conclusion() {
  conclusion result;
  while (auto next = read_frame()) {
    if (next->opcode == op::close) {
      result.close = std::move(next);
      break;
    }
    result.frames.push_back(std::move(*next));
  }
  while (fill()) {
  }
  result.bytes_after_close = received_.size();
  result.end = end_;
  return result;
}

stream_end raw_client::read_to_end() {
  while (fill()) received_.clear();
  return end_;
}

void raw_client::finish_sending() {
  ::shutdown(fd_, SHUT_WR);
}

void raw_client::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

void raw_client::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace skein::test

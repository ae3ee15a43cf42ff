// The floor: what echo and broadcast cost with nothing around them.
//
// One thread, level-triggered epoll, non-blocking sockets. On /echo one readiness event is one recv and one
// send, whatever number of frames arrived. On /broadcast each message costs each recipient one send of the
// ready frame; batching several messages is left out on purpose, so that the figures show what it is worth.
// It validates only what it needs to find the frames: no UTF-8, no fragments on /broadcast, no timeouts.

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

constexpr std::size_t max_payload_bytes = 1024 * 1024;
constexpr std::size_t read_buffer_bytes = max_payload_bytes + 64 * 1024;  // a whole frame always fits
constexpr std::size_t max_request_bytes = 8 * 1024;
constexpr std::size_t max_backlog_bytes = 64 * 1024 * 1024;

enum class route : std::uint8_t { handshake, echo, broadcast };

struct connection {
  int fd = -1;
  route where = route::handshake;
  bool awaits_writable = false;
  bool closing = false;  // ends once the backlog has been written
  bool dead = false;     // ends at the end of this batch of events
  std::uint32_t slot = 0;
  std::string in;       // the beginning of a request or frame whose rest has not arrived
  std::string backlog;  // what the kernel did not take
};

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::system_category(), what};
}

std::string accept_value(std::string_view key) {
  std::string text{key};
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  std::array<unsigned char, 29> encoded{};
  EVP_EncodeBlock(encoded.data(), digest.data(), digest.size());
  return {reinterpret_cast<const char*>(encoded.data()), 28};
}

/// The value of a header field; `name` in lower case. Empty when it is absent.
std::string_view field(std::string_view request, std::string_view name) {
  for (auto line = request.find("\r\n"); line != std::string_view::npos;) {
    const auto begin = line + 2;
    const auto end = request.find("\r\n", begin);
    if (end == std::string_view::npos) break;
    auto text = request.substr(begin, end - begin);
    if (text.size() > name.size() && text[name.size()] == ':') {
      std::size_t same = 0;
      while (same < name.size() && (text[same] | 0x20) == (name[same] | 0x20)) ++same;
      if (same == name.size()) {
        text.remove_prefix(name.size() + 1);
        while (text.starts_with(' ')) text.remove_prefix(1);
        while (text.ends_with(' ')) text.remove_suffix(1);
        return text;
      }
    }
    line = end;
  }
  return {};
}

struct client_frame {
  unsigned char first = 0;  // FIN, reserved bits and opcode
  std::array<unsigned char, 4> mask{};
  std::size_t header_bytes = 0;
  std::size_t payload_bytes = 0;
  [[nodiscard]] unsigned opcode() const { return first & 0x0fU; }
  [[nodiscard]] bool final() const { return (first & 0x80U) != 0; }
};

enum class found : std::uint8_t { frame, nothing_yet, nonsense };

found decode(const char* data, std::size_t size, client_frame& frame) {
  if (size < 2) return found::nothing_yet;
  const auto* bytes = reinterpret_cast<const unsigned char*>(data);
  frame.first = bytes[0];
  if ((bytes[0] & 0x70U) != 0 || (bytes[1] & 0x80U) == 0) return found::nonsense;
  std::uint64_t length = bytes[1] & 0x7fU;
  std::size_t at = 2;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (size < at + extended + 4) return found::nothing_yet;
  if (extended != 0) {
    length = 0;
    for (std::size_t i = 0; i < extended; ++i) length = length << 8 | bytes[at++];
  }
  if (length > max_payload_bytes || (frame.opcode() >= 8 && (length > 125 || !frame.final())))
    return found::nonsense;
  std::memcpy(frame.mask.data(), data + at, 4);
  frame.header_bytes = at + 4;
  frame.payload_bytes = length;
  return size < frame.header_bytes + length ? found::nothing_yet : found::frame;
}

/// Appends the frame as a server sends it: same first byte (or `first`), unmasked.
void append_unmasked(std::string& out, const client_frame& frame, const char* payload, unsigned char first) {
  const auto size = frame.payload_bytes;
  out.push_back(static_cast<char>(first));
  if (size < 126) {
    out.push_back(static_cast<char>(size));
  } else {
    const bool wide = size > 0xffff;
    out.push_back(static_cast<char>(wide ? 127 : 126));
    for (int shift = wide ? 56 : 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  }
  const auto begin = out.size();
  out.append(payload, size);
  std::uint64_t mask = 0;
  std::memcpy(&mask, frame.mask.data(), 4);
  std::memcpy(reinterpret_cast<char*>(&mask) + 4, frame.mask.data(), 4);
  char* at = out.data() + begin;
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at + i, 8);
    word ^= mask;
    std::memcpy(at + i, &word, 8);
  }
  for (; i < size; ++i) at[i] = static_cast<char>(at[i] ^ static_cast<char>(frame.mask[i & 3]));
}

class server {
 public:
  explicit server(std::uint16_t port) : buffer_(new char[read_buffer_bytes]) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (epoll_ < 0 || listener_ < 0) fail("socket");
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
    if (::listen(listener_, SOMAXCONN) != 0) fail("listen");
    socklen_t length = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_ = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    watch(listener_, &listener_);
    watch(signals_, &signals_);
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }

  void run() {
    std::array<epoll_event, 512> events{};
    for (;;) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) fail("epoll_wait");
      for (int i = 0; i < count; ++i) {
        void* what = events[static_cast<std::size_t>(i)].data.ptr;
        if (what == &signals_) return;
        if (what == &listener_) {
          accept_some();
          continue;
        }
        auto& peer = *static_cast<connection*>(what);
        const auto happened = events[static_cast<std::size_t>(i)].events;
        if (!peer.dead && (happened & EPOLLOUT) != 0) write_backlog(peer);
        if (!peer.dead && (happened & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(peer);
      }
      for (auto* peer : dead_) bury(peer);
      dead_.clear();
    }
  }

 private:
  void watch(int fd, void* what) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = what;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }

  /// While there is a backlog nothing is read from the peer: that is all the flow control /echo has.
  void await_writable(connection& peer, bool wanted) const {
    if (peer.awaits_writable == wanted) return;
    peer.awaits_writable = wanted;
    epoll_event event{};
    event.events = wanted ? EPOLLOUT : EPOLLIN;
    event.data.ptr = &peer;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, peer.fd, &event);
  }

  void accept_some() {
    for (int i = 0; i < 64; ++i) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        // Without a free descriptor the listener stays ready: better to end than to spin.
        if (errno == EMFILE || errno == ENFILE) fail("accept");
        return;
      }
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto* peer = new connection;
      peer->fd = fd;
      watch(fd, peer);
    }
  }

  void kill(connection& peer) {
    if (peer.dead) return;
    peer.dead = true;
    dead_.push_back(&peer);
  }

  void bury(connection* peer) {
    if (peer->where == route::broadcast) {
      audience_[peer->slot] = audience_.back();
      audience_[peer->slot]->slot = peer->slot;
      audience_.pop_back();
    }
    ::close(peer->fd);
    delete peer;
  }

  void send(connection& peer, std::string_view bytes) {
    if (peer.dead) return;
    if (peer.backlog.empty()) {
      const auto sent = ::send(peer.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return kill(peer);
      if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
      if (bytes.empty()) return;
    }
    if (peer.backlog.size() + bytes.size() > max_backlog_bytes) return kill(peer);
    peer.backlog.append(bytes);
    await_writable(peer, true);
  }

  void write_backlog(connection& peer) {
    const auto sent = ::send(peer.fd, peer.backlog.data(), peer.backlog.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) kill(peer);
      return;
    }
    peer.backlog.erase(0, static_cast<std::size_t>(sent));
    if (!peer.backlog.empty()) return;
    if (peer.closing) return kill(peer);
    await_writable(peer, false);
  }

  void read(connection& peer) {
    const auto kept = peer.in.size();
    std::memcpy(buffer_.get(), peer.in.data(), kept);
    const auto got = ::recv(peer.fd, buffer_.get() + kept, read_buffer_bytes - kept, 0);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) kill(peer);
      return;
    }
    const std::string_view bytes{buffer_.get(), kept + static_cast<std::size_t>(got)};
    std::size_t used = 0;
    if (peer.where == route::handshake) used = shake_hands(peer, bytes);
    if (peer.where != route::handshake) used += serve(peer, bytes.substr(used));
    const auto rest = bytes.substr(used);
    if (rest.empty() && kept != 0)
      std::string{}.swap(peer.in);  // an idle peer keeps no buffer
    else
      peer.in.assign(rest);
  }

  /// Returns how many bytes the request took; 0 while it is incomplete.
  std::size_t shake_hands(connection& peer, std::string_view bytes) {
    const auto end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (bytes.size() > max_request_bytes) kill(peer);
      return 0;
    }
    const auto request = bytes.substr(0, end + 2);
    const auto key = field(request, "sec-websocket-key");
    const bool echo = request.starts_with("GET /echo ");
    if (key.empty() || (!echo && !request.starts_with("GET /broadcast "))) {
      send(peer, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      kill(peer);
      return end + 4;
    }
    peer.where = echo ? route::echo : route::broadcast;
    if (!echo) {
      peer.slot = static_cast<std::uint32_t>(audience_.size());
      audience_.push_back(&peer);
    }
    send(peer,
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: " +
             accept_value(key) + "\r\n\r\n");
    return end + 4;
  }

  /// Returns how many bytes were whole frames.
  std::size_t serve(connection& peer, std::string_view bytes) {
    std::size_t used = 0;
    replies_.clear();
    client_frame frame;
    while (!peer.dead && !peer.closing) {
      const auto what = decode(bytes.data() + used, bytes.size() - used, frame);
      if (what == found::nothing_yet) break;
      if (what == found::nonsense) {
        kill(peer);
        break;
      }
      on_frame(peer, frame, bytes.data() + used + frame.header_bytes);
      used += frame.header_bytes + frame.payload_bytes;
    }
    if (!replies_.empty()) send(peer, replies_);
    if (peer.closing && peer.backlog.empty()) kill(peer);
    return peer.dead || peer.closing ? bytes.size() : used;
  }

  void on_frame(connection& peer, const client_frame& frame, const char* payload) {
    switch (frame.opcode()) {
      case 8:
        append_unmasked(replies_, frame, payload, frame.first);
        peer.closing = true;
        return;
      case 9:
        return append_unmasked(replies_, frame, payload, 0x8a);
      case 10:
        return;
      default:
        break;
    }
    if (peer.where == route::echo) return append_unmasked(replies_, frame, payload, frame.first);
    if (!frame.final() || frame.opcode() == 0) return kill(peer);  // fragments of two senders would mix
    ready_.clear();
    append_unmasked(ready_, frame, payload, frame.first);
    for (auto* recipient : audience_) send(*recipient, ready_);
  }

  std::unique_ptr<char[]> buffer_;
  std::string replies_;
  std::string ready_;
  std::vector<connection*> audience_;
  std::vector<connection*> dead_;
  int epoll_ = -1;
  int listener_ = -1;
  int signals_ = -1;
  std::uint16_t port_ = 0;
};

std::optional<std::uint16_t> port_option(int argc, char** argv) {
  if (argc == 1) return std::uint16_t{0};
  if (argc != 3 || std::string_view{argv[1]} != "--port") return std::nullopt;
  char* end = nullptr;
  const long port = std::strtol(argv[2], &end, 10);
  if (*end != '\0' || port < 0 || port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(port);
}

}  // namespace

int main(int argc, char** argv) try {
  const auto port = port_option(argc, argv);
  if (!port) {
    std::fprintf(stderr, "usage: bench-raw-epoll [--port N]   (0 picks a port)\n");
    return 2;
  }
  server bare{*port};
  std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(bare.port()));
  std::fflush(stdout);
  bare.run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-raw-epoll: %s\n", error.what());
  return 1;
}

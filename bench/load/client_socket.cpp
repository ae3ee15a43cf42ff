#include "client_socket.hpp"

#include "clock.hpp"
#include "handshake.hpp"
#include "worker.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace skein::bench {
namespace {

// The kernel hands out at most 28,000 ports for each source address.
constexpr std::uint32_t connections_per_source = 20'000;
constexpr std::size_t max_response_bytes = 16U * 1024;

std::string system_message(const char* what) {
  return std::string{what} + ": " + std::system_category().message(errno);
}

}  // namespace

client_socket::~client_socket() {
  if (fd_ >= 0) ::close(fd_);
}

void client_socket::connect() {
  connect_started_ns_ = now_ns();
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return end(system_message("socket"));
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto& target = owner_.handshake().target;
  if (target.loopback()) {
    // The port is chosen at connect, so that it needs to be free towards this server only.
    ::setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index_ / connections_per_source);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0)
      return end(system_message("bind"));
  }
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&target.address), sizeof target.address) != 0 &&
      errno != EINPROGRESS)
    return end(system_message("connect"));
  watch(EPOLL_CTL_ADD, EPOLLOUT);
}

std::string& client_socket::output() {
  if (!queued_) {
    queued_ = true;
    owner_.flush_later(*this);
  }
  return out_;
}

void client_socket::close() {
  if (state_ != state::open) return;
  constexpr std::string_view normal_closure = "\x03\xe8";  // 1000
  append_frame(output(), opcode::close, false, normal_closure, owner_.mask());
  state_ = state::closing;
}

void client_socket::on_events(std::uint32_t events) {
  if (state_ == state::closed) return;
  if (state_ == state::connecting) return on_connected();
  if ((events & EPOLLOUT) != 0) {
    awaits_writable_ = false;
    watch(EPOLL_CTL_MOD, EPOLLIN);
    flush();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && state_ != state::closed) on_readable();
}

void client_socket::on_connected() {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    errno = error;
    return end(system_message("connect"));
  }
  state_ = state::upgrading;
  watch(EPOLL_CTL_MOD, EPOLLIN);
  output() += upgrade_request(owner_.handshake(), index_);
}

void client_socket::flush() {
  queued_ = false;
  if (state_ == state::closed || awaits_writable_ || out_.empty()) return;
  const auto sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(out_.size())) return out_.clear();
  // After a failed send the reason may still be in the receive buffer, as a close frame: let reading find it.
  if (sent < 0 && errno != EAGAIN) return out_.clear();
  if (sent > 0) out_.erase(0, static_cast<std::size_t>(sent));
  awaits_writable_ = true;
  watch(EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

void client_socket::on_readable() {
  const auto kept = in_.size();
  const auto room = owner_.read_buffer(kept);
  std::memcpy(room.data(), in_.data(), kept);
  const auto got = ::recv(fd_, room.data() + kept, room.size() - kept, 0);
  if (got < 0 && errno == EAGAIN) return;
  owner_.tick();
  if (got < 0) return end(system_message("recv"));
  if (got == 0) return end("the server ended the connection without a close frame");

  std::string_view bytes{room.data(), kept + static_cast<std::size_t>(got)};
  if (state_ == state::upgrading) bytes.remove_prefix(read_handshake(bytes));
  if (state_ == state::open || state_ == state::closing) bytes.remove_prefix(read_frames(bytes));
  if (state_ == state::closed || (bytes.empty() && kept == 0)) return;
  if (bytes.empty())
    std::string{}.swap(in_);
  else
    in_.assign(bytes);
}

std::size_t client_socket::read_handshake(std::string_view bytes) {
  const auto end_of_header = bytes.find("\r\n\r\n");
  if (end_of_header == std::string_view::npos) {
    if (bytes.size() > max_response_bytes) end("the server's answer has no end");
    return 0;
  }
  const auto answer = read_response(bytes.substr(0, end_of_header + 4), owner_.handshake(), index_);
  if (!answer.accepted) {
    end("the server " + answer.problem);
    return bytes.size();
  }
  deflate_ = answer.deflate;
  state_ = state::open;
  out_.shrink_to_fit();
  owner_.opened(*this);
  return end_of_header + 4;
}

std::size_t client_socket::read_frames(std::string_view bytes) {
  auto& events = owner_.events();
  const char* data = bytes.data();
  const auto size = bytes.size();
  std::size_t used = 0;
  frame_header header;
  while (state_ == state::open || state_ == state::closing) {
    const auto what = decode_header(data + used, size - used, header);
    if (what == decoded::incomplete) break;
    if (what == decoded::invalid) {
      end("the server sent an invalid frame");
      break;
    }
    const auto frame_bytes = header.header_bytes + header.payload_bytes;
    if (frame_bytes > size - used) {
      owner_.need_read_buffer(frame_bytes);
      break;
    }
    const std::string_view payload{data + used + header.header_bytes, header.payload_bytes};
    used += frame_bytes;
    const bool data_frame = header.kind == opcode::text || header.kind == opcode::binary;
    if (data_frame && header.final && !in_message_) [[likely]]
      events.on_message(*this, {header.kind, header.compressed, payload});
    else
      on_rare_frame(header, payload);
  }
  return used;
}

void client_socket::on_rare_frame(const frame_header& header, std::string_view payload) {
  switch (header.kind) {
    case opcode::ping:
      return append_frame(output(), opcode::pong, false, payload, owner_.mask());
    case opcode::pong:
      return;
    case opcode::close: {
      if (state_ == state::closing) return;  // the answer to ours; the server ends the connection
      std::string why = "the server closed";
      if (payload.size() >= 2) {
        const auto high = static_cast<unsigned char>(payload[0]);
        const auto low = static_cast<unsigned char>(payload[1]);
        why += " with " + std::to_string(high << 8 | low) + " " + std::string{payload.substr(2)};
      }
      append_frame(out_, opcode::close, false, payload.substr(0, 2), owner_.mask());
      flush();
      return end(why);
    }
    case opcode::text:
    case opcode::binary:
      if (in_message_) return end("the server began a message inside another");
      in_message_ = true;
      message_kind_ = header.kind;
      message_compressed_ = header.compressed;
      fragments_.assign(payload);
      return;
    case opcode::continuation:
      if (!in_message_ || header.compressed) return end("the server sent a continuation of nothing");
      if (fragments_.size() + payload.size() > max_payload_bytes)
        return end("the server's message has no end");
      fragments_.append(payload);
      if (!header.final) return;
      in_message_ = false;
      return owner_.events().on_message(*this, {message_kind_, message_compressed_, fragments_});
  }
  end("the server sent an unknown opcode");
}

void client_socket::watch(int operation, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = this;
  ::epoll_ctl(owner_.epoll(), operation, fd_, &event);
}

void client_socket::end(const std::string& why) {
  if (state_ == state::closed) return;
  const auto before = std::exchange(state_, state::closed);
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  for (auto* buffer : {&in_, &out_, &fragments_}) std::string{}.swap(*buffer);
  owner_.ended(*this, before, why);
}

}  // namespace skein::bench

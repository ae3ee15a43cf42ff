#include "client_socket.hpp"

#include "clock.hpp"
#include "handshake.hpp"
#include "worker.hpp"

#include <sys/epoll.h>

#include <cstring>
#include <utility>

namespace skein::bench {
namespace {

constexpr std::size_t max_response_bytes = 16U * 1024;
constexpr int ample_receive_buffer = 4 * 1024 * 1024;

}  // namespace

std::int64_t client_socket::waits_since_ns() const noexcept {
  switch (state_) {
    case state::connecting:
    case state::upgrading:
      return connect_started_ns_;
    case state::closing:
      return close_started_ns_;
    case state::open:
    case state::closed:
      break;
  }
  return 0;
}

void client_socket::connect() {
  connect_started_ns_ = now_ns();
  state_ = state::connecting;
  close_code_ = 0;
  deflate_ = awaits_writable_ = in_message_ = false;
  reading_ = true;
  if (stream_.connect(owner_.start_connecting()) == stream::status::failed) return end(stream_.problem());
  watch();
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
  close_started_ns_ = owner_.read_time_ns();
  state_ = state::closing;
  owner_.started_closing();
}

void client_socket::cut() {
  stream_.reset();
  const auto before = std::exchange(state_, state::closed);
  release();
  if (before != state::closed) owner_.forgot(before);
}

void client_socket::abandon(const std::string& why) {
  close_code_ = 0;
  end(why);
}

void client_socket::pause_reading(int receive_buffer_bytes) {
  if (!is_open()) return;
  stream_.limit_receive_buffer(receive_buffer_bytes);
  reading_ = false;
  watch();
}

void client_socket::resume_reading() {
  if (is_closed() || std::exchange(reading_, true)) return;
  stream_.limit_receive_buffer(ample_receive_buffer);  // or what waits would come in drops
  // Where the kernel had no room for even one segment nothing is there to be read that would tell the server
  // of the room there is now, and it asks less and less often. Anything that is sent tells it.
  if (is_open()) append_frame(output(), opcode::ping, false, {}, owner_.mask());
  watch();
}

void client_socket::on_events(std::uint32_t events) {
  if (state_ == state::closed) return;
  if (state_ == state::connecting) return on_connecting();
  if ((events & EPOLLOUT) != 0) {
    awaits_writable_ = false;
    watch();
    flush();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  do {
    if (state_ != state::closed) on_readable();
  } while (state_ != state::closed && stream_.wants_read_again());
}

void client_socket::on_connecting() {
  switch (stream_.establish()) {
    case stream::status::again:
      return watch();
    case stream::status::failed:
      return end(stream_.problem());
    case stream::status::ended:
      return end("the server ended the connection during the TLS handshake");
    case stream::status::done:
      break;
  }
  state_ = state::upgrading;
  watch();
  output() += upgrade_request(owner_.handshake(), index_);
}

void client_socket::flush() {
  queued_ = false;
  if (out_.empty() || awaits_writable_ || state_ == state::closed || state_ == state::connecting) return;
  const auto sent = stream_.write(out_);
  if (sent.what == stream::status::done) return out_.clear();
  // After a failed send the reason may still be in the receive buffer, as a close frame: let reading find it.
  if (sent.what != stream::status::again) return out_.clear();
  out_.erase(0, sent.bytes);
  awaits_writable_ = stream_.wants_write();
  watch();
}

void client_socket::on_readable() {
  const auto kept = in_.size();
  const auto room = owner_.read_buffer(kept);
  std::memcpy(room.data(), in_.data(), kept);
  const auto got = stream_.read(room.subspan(kept));
  if (got.what == stream::status::again) return;
  owner_.tick();
  if (got.what == stream::status::failed) return end(stream_.problem());
  if (got.what == stream::status::ended) return end("the server ended the connection without a close frame");

  std::string_view bytes{room.data(), kept + got.bytes};
  if (state_ == state::upgrading) bytes.remove_prefix(read_handshake(bytes));
  if (state_ == state::open || state_ == state::closing) bytes.remove_prefix(read_frames(bytes));
  if (state_ == state::closed) return;
  if (!out_.empty() && !queued_ && !awaits_writable_)
    output();  // over TLS a write may have waited for this read
  if (bytes.empty() && kept == 0) return;
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
    case opcode::close:
      return on_close_frame(payload);
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

void client_socket::on_close_frame(std::string_view payload) {
  constexpr std::uint16_t no_status = 1005;
  close_code_ = no_status;
  std::string why = "the server closed";
  if (payload.size() >= 2) {
    const auto high = static_cast<unsigned char>(payload[0]);
    const auto low = static_cast<unsigned char>(payload[1]);
    close_code_ = static_cast<std::uint16_t>(high << 8 | low);
    why += " with " + std::to_string(close_code_) + " " + std::string{payload.substr(2)};
  }
  if (state_ == state::closing) return;  // the answer to ours; the server ends the connection
  append_frame(out_, opcode::close, false, payload.substr(0, 2), owner_.mask());
  flush();
  end(why);
}

/// Tells epoll what this socket waits for.
void client_socket::watch() {
  const bool for_write = state_ == state::connecting ? stream_.wants_write() : awaits_writable_;
  const bool for_read = state_ != state::connecting ? reading_ : !for_write;
  epoll_event event{};
  event.events = (for_read ? EPOLLIN : 0U) | (for_write ? EPOLLOUT : 0U);
  event.data.ptr = this;
  ::epoll_ctl(owner_.epoll(), std::exchange(watched_, true) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, stream_.fd(),
              &event);
}

void client_socket::release() {
  watched_ = false;  // a closed descriptor leaves epoll by itself
  for (auto* buffer : {&in_, &out_, &fragments_}) std::string{}.swap(*buffer);
}

void client_socket::end(const std::string& why) {
  if (state_ == state::closed) return;
  stream_.close();
  const auto before = std::exchange(state_, state::closed);
  release();
  owner_.ended(*this, before, why);
}

}  // namespace skein::bench

#include "http/client_gate.hpp"
#include "hub/hub.hpp"
#include "testing/memory_transport.hpp"
#include "wire/frame.hpp"

#include <skein/error.hpp>
#include <skein/testing.hpp>

#include <array>
#include <stdexcept>

namespace skein::testing {
namespace {

/// A client's frame: final, masked (RFC 6455 section 5.3). A fixed key will do for a test.
std::string masked_frame(opcode op, std::string_view payload) {
  constexpr std::array<unsigned char, 4> key{0x37, 0xfa, 0x21, 0x3d};
  const auto header = skein::detail::encode_header(op, payload.size());
  std::string frame{header.view()};
  frame[1] = static_cast<char>(static_cast<unsigned char>(frame[1]) | 0x80U);
  frame.append(reinterpret_cast<const char*>(key.data()), key.size());
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ key[i % key.size()]);
  }
  return frame;
}

/// The first whole frame of a server's bytes.
struct server_frame {
  opcode op;
  std::string_view payload;
  std::size_t size;
};
std::optional<server_frame> first_frame(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 2) return std::nullopt;
  std::size_t header = 2;
  std::uint64_t length = byte(1) & 0x7fU;
  if (length >= 126) {
    const std::size_t wide = length == 126 ? 2 : 8;
    if (bytes.size() < 2 + wide) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < wide; ++i) length = length << 8U | byte(2 + i);
    header += wide;
  }
  if (bytes.size() - header < length) return std::nullopt;
  const auto size = static_cast<std::size_t>(length);
  return server_frame{static_cast<opcode>(byte(0) & 0x0fU), bytes.substr(header, size), header + size};
}

}  // namespace

struct memory_peer::impl {
  void put(std::string_view what) {
    if (pipe->peer_gone || pipe->vanished || pipe->server_closed) return;
    pipe->to_server += what;
    pipe->notify();
  }

  std::shared_ptr<detail::memory_pipe> pipe;
  std::shared_ptr<connection> server_end;
  std::string bytes;  // taken from the pipe, not yet a whole frame
  std::size_t pings = 0;
  std::optional<close_code> close_received;
  bool close_sent = false;
  bool answers = true;
};

memory_peer::memory_peer() : impl_(std::make_unique<impl>()) {}
memory_peer::~memory_peer() {
  cut();
}

std::vector<message> memory_peer::received() {
  std::vector<message> all;
  impl_->bytes += received_bytes();
  std::string_view rest = impl_->bytes;
  while (const auto frame = first_frame(rest)) {
    switch (frame->op) {
      case opcode::text:
      case opcode::binary:
        all.emplace_back(frame->op, std::string{frame->payload});
        break;
      case opcode::ping:
        ++impl_->pings;
        if (impl_->answers) impl_->put(masked_frame(opcode::pong, frame->payload));
        break;
      case opcode::close: {
        auto code = close_code::none;
        if (frame->payload.size() >= 2) {
          code = static_cast<close_code>(static_cast<unsigned char>(frame->payload[0]) << 8U |
                                         static_cast<unsigned char>(frame->payload[1]));
        }
        impl_->close_received = code;
        if (impl_->answers && !impl_->close_sent) {
          impl_->close_sent = true;
          impl_->put(masked_frame(opcode::close, frame->payload));
        }
        break;
      }
      case opcode::pong:
      case opcode::continuation:
        break;
    }
    rest.remove_prefix(frame->size);
  }
  impl_->bytes.erase(0, impl_->bytes.size() - rest.size());
  return all;
}

void memory_peer::send(message what) {
  impl_->put(masked_frame(what.type(), what.payload()));
}
void memory_peer::send_bytes(std::string_view bytes) {
  impl_->put(bytes);
}
std::string memory_peer::received_bytes() {
  auto taken = std::exchange(impl_->pipe->to_peer, {});
  impl_->pipe->notify();
  return taken;
}
void memory_peer::send_close(close_code code, std::string_view text) {
  impl_->close_sent = true;
  const auto frame = skein::detail::encode_close(code, text);
  impl_->put(masked_frame(opcode::close, std::string_view{frame}.substr(2)));
}
void memory_peer::send_ping(std::string_view payload) {
  impl_->put(masked_frame(opcode::ping, payload));
}
void memory_peer::answer_control(bool yes) {
  impl_->answers = yes;
}
void memory_peer::set_capacity(std::size_t bytes) {
  impl_->pipe->capacity = bytes;
  impl_->pipe->notify();
}
void memory_peer::discard() {
  impl_->bytes.clear();
  static_cast<void>(received_bytes());
}
std::size_t memory_peer::pings() const noexcept {
  return impl_->pings;
}
std::optional<close_code> memory_peer::close_received() const noexcept {
  return impl_->close_received;
}
bool memory_peer::is_cut() const noexcept {
  return impl_->pipe->server_closed;
}
void memory_peer::cut() {
  impl_->pipe->peer_gone = true;
  impl_->pipe->notify();
}
void memory_peer::vanish() {
  impl_->answers = false;
  impl_->pipe->vanished = true;
}
std::shared_ptr<connection> memory_peer::other_end() const {
  return impl_->server_end;
}

std::unique_ptr<memory_peer> connect(manager& hub, handler what, request with, identity user,
                                     const route_options& how) {
  auto* const known = dynamic_cast<skein::detail::hub*>(&hub);
  if (!known) throw std::invalid_argument{"connect: the manager must come from make_manager"};
  if (known->shared()->draining) throw boost::system::system_error{make_error_code(errc::draining)};
  auto ticket = known->shared()->admit();
  if (!ticket) throw boost::system::system_error{make_error_code(errc::connection_limit)};
  auto& shard = *known->shards().front();
  auto pipe = std::make_shared<detail::memory_pipe>(shard.executor());
  std::unique_ptr<memory_peer> peer{new memory_peer};
  peer->impl_->pipe = std::move(pipe);

  // The handshake goes through the engine like any other; only the HTTP server is left out.
  const request opening{"GET",
                        with.target().empty() ? "/" : with.target(),
                        {{"Host", "localhost"},
                         {"Connection", "Upgrade"},
                         {"Upgrade", "websocket"},
                         {"Sec-WebSocket-Version", "13"},
                         {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}},
                        "memory"};
  auto upgraded = skein::detail::accept_upgrade(opening, {}, shard.engine(), shard.engine_scratch());
  skein::detail::connection_parts parts;
  parts.ticket = std::move(ticket);
  parts.runs = std::make_shared<const handler>(std::move(what));
  if (with.target().empty()) with = opening;
  parts.request = std::move(with);
  parts.user = std::move(user);
  if (auto rules = skein::detail::rules_of(how, {}, {}))
    parts.guard = std::make_unique<skein::detail::inbound_guard>(std::move(rules), nullptr);
  parts.transport = detail::make_memory_transport(peer->impl_->pipe);
  parts.engine = std::move(upgraded.engine);
  const std::string route{parts.request.path()};
  peer->impl_->server_end = shard.open(route, std::move(parts));
  return peer;
}

}  // namespace skein::testing

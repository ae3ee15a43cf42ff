// A WebSocket server on libwebsockets, as its documentation and minimal examples teach it: a protocol
// callback, data for each session, messages queued until the callback LWS_CALLBACK_SERVER_WRITEABLE, in
// which they are written for as long as the socket takes them.
//
// What is tuned: the libev event loop, which waits with epoll rather than poll and took half the time that
// libuv's took here; a service buffer of 64 KiB, so that a message of 16 KiB is not read in four pieces; one
// copy of a message for all its recipients, with the room before it that lws_write needs for the header. No
// extensions, no logging. libwebsockets turns Nagle's algorithm off itself.

#include <csignal>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <libwebsockets.h>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

constexpr std::size_t max_message_bytes = 1024 * 1024;
constexpr std::size_t max_queued = 65536;
constexpr unsigned service_buffer_bytes = 64 * 1024;

struct message {
  std::vector<unsigned char> bytes;  // LWS_PRE of room, then the payload
  lws_write_protocol kind = LWS_WRITE_TEXT;
};

using message_ptr = std::shared_ptr<message>;

struct session {
  lws* wsi = nullptr;
  bool broadcasts = false;
  std::size_t place = 0;  // in the audience
  std::deque<message_ptr> outgoing;
  message_ptr incoming;  // until its last fragment has arrived
};

std::vector<session*> audience;

bool queue(session& to, const message_ptr& text) {
  if (to.outgoing.size() >= max_queued) return false;
  to.outgoing.push_back(text);
  // Asked for already when something was queued before.
  if (to.outgoing.size() == 1) lws_callback_on_writable(to.wsi);
  return true;
}

/// Returns false when the session is to be closed.
bool receive(session& from, const char* data, std::size_t size) {
  if (lws_is_first_fragment(from.wsi) != 0) {
    from.incoming = std::make_shared<message>();
    from.incoming->kind = lws_frame_is_binary(from.wsi) != 0 ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    from.incoming->bytes.reserve(LWS_PRE + size + lws_remaining_packet_payload(from.wsi));
    from.incoming->bytes.resize(LWS_PRE);
  }
  auto& bytes = from.incoming->bytes;
  if (bytes.size() + size > LWS_PRE + max_message_bytes) return false;
  bytes.insert(bytes.end(), data, data + size);
  if (lws_is_final_fragment(from.wsi) == 0) return true;
  const auto whole = std::move(from.incoming);
  if (!from.broadcasts) return queue(from, whole);
  for (auto* to : audience)
    if (!queue(*to, whole)) lws_set_timeout(to->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
  return true;
}

bool write(session& to) {
  while (!to.outgoing.empty()) {
    auto& next = *to.outgoing.front();
    const auto size = next.bytes.size() - LWS_PRE;
    if (lws_write(to.wsi, next.bytes.data() + LWS_PRE, size, next.kind) < static_cast<int>(size))
      return false;
    to.outgoing.pop_front();
    if (!to.outgoing.empty() && lws_send_pipe_choked(to.wsi) != 0) {
      lws_callback_on_writable(to.wsi);
      break;
    }
  }
  return true;
}

std::string path_of(lws* wsi) {
  char path[64] = {};
  lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI);
  return path;
}

void join(session& joining) {
  joining.place = audience.size();
  audience.push_back(&joining);
}

void leave(const session& leaving) {
  audience[leaving.place] = audience.back();
  audience[leaving.place]->place = leaving.place;
  audience.pop_back();
}

int on_event(lws* wsi, lws_callback_reasons reason, void* user, void* data, std::size_t size) {
  auto* self = static_cast<session*>(user);
  switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: {
      const auto path = path_of(wsi);
      return path == "/echo" || path == "/broadcast" ? 0 : 1;
    }
    case LWS_CALLBACK_ESTABLISHED:
      new (self) session;
      self->wsi = wsi;
      self->broadcasts = path_of(wsi) == "/broadcast";
      if (self->broadcasts) join(*self);
      return 0;
    case LWS_CALLBACK_RECEIVE:
      return receive(*self, static_cast<const char*>(data), size) ? 0 : -1;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      return write(*self) ? 0 : -1;
    case LWS_CALLBACK_CLOSED:
      if (self->broadcasts) leave(*self);
      self->~session();
      return 0;
    default:
      return lws_callback_http_dummy(wsi, reason, user, data, size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 1 && (argc != 3 || std::string{argv[1]} != "--port")) {
    std::fprintf(stderr, "usage: bench-libwebsockets [--port N]   (0 picks a port)\n");
    return 2;
  }
  lws_set_log_level(LLL_ERR, nullptr);

  lws_protocols protocols[2] = {};
  protocols[0].name = "default";
  protocols[0].callback = on_event;
  protocols[0].per_session_data_size = sizeof(session);
  lws_context_creation_info info{};
  info.port = argc == 3 ? std::atoi(argv[2]) : 0;
  info.iface = "127.0.0.1";
  info.protocols = protocols;
  info.pt_serv_buf_size = service_buffer_bytes;
  info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  auto* context = lws_create_context(&info);
  auto* host = context != nullptr ? lws_create_vhost(context, &info) : nullptr;
  if (host == nullptr) {
    std::fprintf(stderr, "bench-libwebsockets: cannot listen\n");
    return 1;
  }
  // After the context is made, which takes the signals for its event loop.
  const auto ended = [](int) { _exit(0); };
  std::signal(SIGTERM, ended);
  std::signal(SIGINT, ended);
  std::printf("listening on 127.0.0.1:%d\n", lws_get_vhost_listen_port(host));
  std::fflush(stdout);
  while (lws_service(context, 0) >= 0) {
  }
  return 0;
}

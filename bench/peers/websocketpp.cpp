// A WebSocket server on WebSocket++ with its Asio transport, as its documentation and its echo and broadcast
// examples teach it: one io_context, one thread, handlers, a set of connections.
//
// What is tuned, all of it from the library's own manual: no logging, no locks (there is one thread), no
// compression, Nagle's algorithm off, a full listen backlog, and a message for all is prepared once, so that
// sending it only queues a pointer. The rest are defaults.

#include <boost/asio/signal_set.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <set>
#include <string>
#include <websocketpp/concurrency/none.hpp>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/logger/stub.hpp>
#include <websocketpp/server.hpp>

namespace {

struct quiet_config : websocketpp::config::asio {
  using type = quiet_config;
  using base = websocketpp::config::asio;
  using concurrency_type = websocketpp::concurrency::none;
  using alog_type = websocketpp::log::stub;
  using elog_type = websocketpp::log::stub;

  struct transport_config : base::transport_config {
    using concurrency_type = type::concurrency_type;
    using alog_type = type::alog_type;
    using elog_type = type::elog_type;
    static bool const enable_multithreading = false;
  };
  using transport_type = websocketpp::transport::asio::endpoint<transport_config>;

  static bool const enable_multithreading = false;
};

using server = websocketpp::server<quiet_config>;
using websocketpp::connection_hdl;
namespace frame = websocketpp::frame;

constexpr std::size_t max_message_bytes = 1024 * 1024;
constexpr std::size_t max_buffered_bytes = 64 * 1024 * 1024;

class peer {
 public:
  explicit peer(std::uint16_t port) {
    server_.init_asio();
    server_.set_reuse_addr(true);
    server_.set_listen_backlog(boost::asio::socket_base::max_listen_connections);
    server_.set_max_message_size(max_message_bytes);
    server_.set_tcp_post_init_handler([this](connection_hdl handle) {
      boost::system::error_code ignored;
      server_.get_con_from_hdl(handle)->get_raw_socket().set_option(boost::asio::ip::tcp::no_delay{true},
                                                                    ignored);
    });
    server_.set_validate_handler([this](connection_hdl handle) {
      const auto& path = server_.get_con_from_hdl(handle)->get_resource();
      return path == "/echo" || path == "/broadcast";
    });
    server_.set_open_handler([this](connection_hdl handle) { on_open(handle); });
    server_.listen(boost::asio::ip::tcp::endpoint{boost::asio::ip::address_v4::loopback(), port});
    server_.start_accept();
  }

  std::uint16_t port() {
    boost::system::error_code ignored;
    return server_.get_local_endpoint(ignored).port();
  }

  void run() {
    boost::asio::signal_set signals{server_.get_io_service(), SIGINT, SIGTERM};
    signals.async_wait([this](const boost::system::error_code&, int) { server_.stop(); });
    server_.run();
  }

 private:
  void on_open(connection_hdl handle) {
    const auto connection = server_.get_con_from_hdl(handle);
    if (connection->get_resource() == "/echo") {
      // A raw pointer: the connection owns the handler, and calls it only while it lives.
      connection->set_message_handler([echo = connection.get()](connection_hdl, server::message_ptr message) {
        echo->send(message->get_payload(), message->get_opcode());
      });
      return;
    }
    everyone_.insert(connection);
    connection->set_message_handler(
        [this](connection_hdl, server::message_ptr message) { broadcast(message); });
    connection->set_close_handler([this](connection_hdl closed) { forget(closed); });
    connection->set_fail_handler([this](connection_hdl failed) { forget(failed); });
  }

  void forget(connection_hdl handle) { everyone_.erase(server_.get_con_from_hdl(handle)); }

  /// A message that was received becomes the message that is sent: unmasked, one frame, ready to be queued.
  void broadcast(const server::message_ptr& message) {
    const auto bytes = message->get_payload().size();
    message->set_header(frame::prepare_header(frame::basic_header{message->get_opcode(), bytes, true, false},
                                              frame::extended_header{bytes}));
    message->set_prepared(true);
    for (const auto& connection : everyone_) {
      if (connection->get_buffered_amount() > max_buffered_bytes) {
        boost::system::error_code ignored;
        connection->get_raw_socket().shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
      } else {
        connection->send(message);
      }
    }
  }

  server server_;
  std::set<server::connection_ptr> everyone_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 1 && (argc != 3 || std::string{argv[1]} != "--port")) {
    std::fprintf(stderr, "usage: bench-websocketpp [--port N]   (0 picks a port)\n");
    return 2;
  }
  peer running{static_cast<std::uint16_t>(argc == 3 ? std::atoi(argv[2]) : 0)};
  std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(running.port()));
  std::fflush(stdout);
  running.run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-websocketpp: %s\n", error.what());
  return 1;
}

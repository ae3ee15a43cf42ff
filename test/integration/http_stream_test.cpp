// The bytes of an HTTP session, and what ends waiting for them.

#include "http/http_stream.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <thread>

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

TEST_SUITE("http stream") {
  TEST_CASE("what was ready before it was cancelled waits no second time") {
    asio::io_context context;
    const asio::any_io_executor strand = asio::make_strand(context.get_executor());
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    tcp::socket peer{context};
    peer.connect(acceptor.local_endpoint());
    tcp::socket accepted{strand};
    acceptor.accept(accepted);
    peer.non_blocking(true);
    skein::detail::http_stream stream{std::move(accepted), nullptr};

    // More than any socket holds.
    const std::string much(std::size_t{64} << 20U, 'x');
    std::optional<error_code> ended;
    asio::co_spawn(strand, stream.write(much),
                   [&ended](const std::exception_ptr&, error_code ec) { ended = ec; });
    context.poll();
    REQUIRE(!ended);
    asio::post(strand, [&] {
      std::string some(1 << 16U, 0);
      error_code ec;
      while (!ec) peer.read_some(asio::buffer(some), ec);
      // There is room, and whoever waits for it stands behind this function.
      std::thread{[&context] { context.poll(); }}.join();
      stream.cancel();
    });
    context.poll();
    REQUIRE(ended);
    CHECK(*ended == asio::error::operation_aborted);

    stream.allow();
    ended.reset();
    error_code ec;
    std::string some(1 << 16U, 0);
    while (!ec) peer.read_some(asio::buffer(some), ec);
    asio::co_spawn(strand, stream.write("y"),
                   [&ended](const std::exception_ptr&, error_code result) { ended = result; });
    context.restart();
    context.poll();
    REQUIRE(ended);
    CHECK(!*ended);
  }
}

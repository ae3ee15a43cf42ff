// Waiting for a message and being cancelled, in all orders.

#include "hub_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <doctest/doctest.h>

#include <array>
#include <optional>

using namespace hub_test;
using namespace boost::asio::experimental::awaitable_operators;

namespace {

using timer = asio::steady_timer;

struct outcome_of {
  bool over = false;
  boost::system::error_code ended;
  auto handler() {
    return [this](const std::exception_ptr& error) {
      over = true;
      try {
        if (error) std::rethrow_exception(error);
      } catch (const boost::system::system_error& e) {
        ended = e.code();
      }
    };
  }
};

asio::awaitable<void> never() {
  timer forever{co_await asio::this_coro::executor, timer::time_point::max()};
  co_await forever.async_wait(asio::use_awaitable);
}

}  // namespace

TEST_SUITE("waiting for a message") {
  TEST_CASE("a wait that gave up takes no message, however often") {
    fixture f;
    auto& peer = f.connect([](connection&) { return never(); });
    const auto mine = peer.other_end();
    for (int i = 0; i < 20; ++i) {
      const bool comes = i % 2 == 1;
      timer patience{f.context, timer::time_point::max()};
      std::optional<bool> came;
      const auto wait_for_either = [&]() -> asio::awaitable<void> {
        boost::system::error_code given_up;
        const auto first = co_await (
            mine->read() || patience.async_wait(asio::redirect_error(asio::use_awaitable, given_up)));
        came = first.index() == 0;
      };
      asio::co_spawn(f.context, wait_for_either, asio::detached);
      f.settle();
      CHECK(!came);
      comes ? peer.send(text("x")) : static_cast<void>(patience.cancel());
      f.settle();
      CHECK(came == comes);
    }
    const auto got = f.start(mine->read());
    peer.send(text("for whoever waits"));
    f.settle();
    REQUIRE(*got);
    CHECK(**got == text("for whoever waits"));
  }

  TEST_CASE("who has read and is cancelled later, in another wait, ends there; the connection can be read") {
    fixture f;
    auto& peer = f.connect([](connection&) { return never(); });
    const auto mine = peer.other_end();
    asio::cancellation_signal cancel;
    outcome_of result;
    int read = 0;
    asio::co_spawn(
        f.context,
        [&]() -> asio::awaitable<void> {
          while (read < 3) {
            const auto got = co_await mine->read();
            if (got) ++read;
          }
          co_await never();
        },
        asio::bind_cancellation_slot(cancel.slot(), result.handler()));
    f.settle();
    for (int i = 0; i < 3; ++i) {
      peer.send(text("x"));
      f.settle();
    }
    CHECK(read == 3);
    const auto next = f.start(mine->read());  // somebody else waits now
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(result.over);
    CHECK(result.ended == asio::error::operation_aborted);
    CHECK(!*next);
    peer.send(text("y"));
    f.settle();
    REQUIRE(*next);
    CHECK(**next == text("y"));
  }

  TEST_CASE("whoever reads two connections in turn is cancelled in the one for which it waits") {
    for (const int turns : {0, 1, 2, 3}) {
      CAPTURE(turns);
      fixture f;
      auto& one = f.connect([](connection&) { return never(); });
      auto& other = f.connect([](connection&) { return never(); });
      const std::array ends{one.other_end(), other.other_end()};
      asio::cancellation_signal cancel;
      outcome_of result;
      int read = 0;
      const auto read_in_turn = [&]() -> asio::awaitable<void> {
        for (;; ++read) co_await ends[static_cast<std::size_t>(read % 2)]->read();
      };
      asio::co_spawn(f.context, read_in_turn, asio::bind_cancellation_slot(cancel.slot(), result.handler()));
      f.settle();
      for (int i = 0; i < turns; ++i) {
        (i % 2 == 0 ? one : other).send(text("x"));
        f.settle();
      }
      CHECK(read == turns);
      cancel.emit(asio::cancellation_type::terminal);
      f.settle();
      CHECK(result.ended == asio::error::operation_aborted);
      for (auto* const peer : {&one, &other}) {
        const auto next = f.start(peer->other_end()->read());
        peer->send(text("y"));
        f.settle();
        REQUIRE(*next);
        CHECK(**next == text("y"));
      }
    }
  }

  TEST_CASE("a connection that is gone is not told of a cancellation") {
    fixture f;
    asio::cancellation_signal cancel;
    outcome_of result;
    auto& peer = f.connect([](connection&) -> asio::awaitable<void> { co_return; });
    auto reads = peer.other_end();
    const std::weak_ptr<connection> gone = reads->weak_from_this();
    const auto read_to_the_end = [](std::shared_ptr<connection> from) -> asio::awaitable<void> {
      for (;;) {
        const auto got = co_await from->read();
        if (!got) break;
      }
      from.reset();
      co_await never();
    };
    asio::co_spawn(f.context, read_to_the_end(std::move(reads)),
                   asio::bind_cancellation_slot(cancel.slot(), result.handler()));
    f.settle();
    f.peers.clear();
    f.settle();
    CHECK(gone.expired());
    CHECK(!result.over);
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(result.ended == asio::error::operation_aborted);
  }

  TEST_CASE("who was cancelled before does not begin to wait, unless it asked for that") {
    fixture f;
    auto& peer = f.connect([](connection&) { return never(); });
    const auto mine = peer.other_end();
    asio::cancellation_signal cancel;
    outcome_of result;
    int aborted = 0;
    bool throws = true;
    SUBCASE("by default") {}
    SUBCASE("asked for") {
      throws = false;
    }
    asio::co_spawn(
        f.context,
        [&]() -> asio::awaitable<void> {
          co_await asio::this_coro::throw_if_cancelled(throws);
          for (int i = 0; i < 2; ++i) {
            try {
              co_await mine->read();
            } catch (const boost::system::system_error&) {
              ++aborted;
            }
          }
        },
        asio::bind_cancellation_slot(cancel.slot(), result.handler()));
    f.settle();
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(aborted == (throws ? 2 : 1));
    CHECK(result.over == throws);
    peer.send(text("x"));
    f.settle();
    CHECK(result.over);
  }
}

// The poller reads for those who send little before it tells any of them.

#include "connection/loop.hpp"
#include "connection/poller.hpp"
#include "connection/transport.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <doctest/doctest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace skein::detail;

namespace {

std::array<int, 2> socket_pair() {
  std::array<int, 2> both{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both.data()) == 0);
  return both;
}

void put(int socket, const std::string& bytes) {
  REQUIRE(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

int unread(int socket) {
  int bytes = 0;
  REQUIRE(::ioctl(socket, FIONREAD, &bytes) == 0);
  return bytes;
}

class client final : public poller_client {
 public:
  explicit client(poller& by, bool ahead = true) : by_(by), ahead_(ahead), ends_(socket_pair()) {
    error_code ec;
    by.add(mine(), *this, true, false, ec);
    REQUIRE(!ec);
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() {
    leave();
    ::close(ends_[0]);
    hang_up();
  }

  void on_ready(bool, bool, bool) override {
    ++told;
    if (before) before();
    if (auto what = by_.take_arrived(*this)) {
      came += std::string{what->bytes.begin(), what->bytes.end()};
      ended = what->ec;
      CHECK(!by_.take_arrived(*this));  // once
    }
    if (after) after();
  }
  [[nodiscard]] int reads_ahead() const noexcept override { return ahead_ ? mine() : -1; }

  [[nodiscard]] int mine() const noexcept { return ends_[0]; }
  [[nodiscard]] int theirs() const noexcept { return ends_[1]; }
  void leave() noexcept { by_.remove(mine(), *this); }
  void hang_up() noexcept {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }

  int told = 0;
  std::string came;
  error_code ended;
  std::function<void()> before, after;

 private:
  poller& by_;
  bool ahead_;
  std::array<int, 2> ends_;
};

struct with_poller {
  asio::io_context context{1};
  poller by{context.get_executor()};
};

/// Reads whenever there is something, as a connection does.
loop read_all(transport& from, std::vector<std::string>& into, error_code& ended) {
  while (!ended) {
    class readable {
     public:
      explicit readable(transport& what) : what_(what) {}
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> frame) { what_.wait_readable({frame, &ready_}); }
      [[nodiscard]] bool await_resume() const noexcept { return ready_; }

     private:
      transport& what_;
      bool ready_ = false;
    };
    readable wait{from};
    const bool ready = co_await wait;
    if (!ready) co_return;
    std::array<char, 64 * 1024> buffer;
    error_code ec;
    const auto n = from.read_some(buffer, ec);
    if (ec == asio::error::would_block) continue;
    if (n > 0) into.emplace_back(buffer.data(), n);
    ended = ec;
  }
}

}  // namespace

TEST_SUITE("reading ahead") {
  TEST_CASE_FIXTURE(with_poller,
                    "all are read for before the first is told; who does not want it reads itself") {
    client first{by};
    client second{by};
    client plain{by, false};
    put(first.theirs(), "one");
    put(second.theirs(), "two");
    put(plain.theirs(), "three");
    first.before = [&] {
      CHECK(unread(second.mine()) == 0);
      CHECK(unread(plain.mine()) == 5);
      CHECK(second.told == 0);
    };
    by.dispatch();
    CHECK(first.came == "one");
    CHECK(second.came == "two");
    CHECK(plain.told == 1);
    CHECK(plain.came.empty());
    CHECK(!by.take_arrived(first));  // only while it is told
    by.dispatch();
    CHECK(first.told == 1);
    CHECK(plain.told == 2);
  }

  TEST_CASE_FIXTURE(with_poller, "at most 1,024 bytes are read ahead, and the rest is reported again") {
    for (const std::size_t size : {1'023U, 1'024U, 1'025U}) {
      client one{by};
      put(one.theirs(), std::string(size, 'x'));
      by.dispatch();
      CHECK(one.came.size() == std::min<std::size_t>(size, 1'024));
      by.dispatch();
      CHECK(one.came.size() == size);
      CHECK(one.told == (size <= 1'024 ? 1 : 2));
    }
  }

  TEST_CASE_FIXTURE(with_poller, "the end of a stream is told like bytes are") {
    client one{by};
    put(one.theirs(), "last");
    one.hang_up();
    by.dispatch();
    CHECK(one.came == "last");
    CHECK(!one.ended);
    by.dispatch();
    CHECK(one.ended == asio::error::eof);
  }

  TEST_CASE_FIXTURE(with_poller,
                    "everybody has their turn: more than are read for at once, and more than fits") {
    std::vector<std::unique_ptr<client>> all;
    for (int i = 0; i < 200; ++i) {
      all.push_back(std::make_unique<client>(by));
      put(all.back()->theirs(), std::string(1'000, static_cast<char>('a' + i % 26)));
    }
    by.dispatch();
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(all[i]->told == 1);
      CHECK(all[i]->came == std::string(1'000, static_cast<char>('a' + i % 26)));
    }
  }

  TEST_CASE_FIXTURE(with_poller, "who throws costs the others nothing") {
    client first{by};
    client second{by};
    put(first.theirs(), "one");
    put(second.theirs(), "two");
    first.after = [] { throw std::runtime_error{"no"}; };
    CHECK_THROWS_WITH(by.dispatch(), "no");
    CHECK(first.came == "one");
    CHECK(second.came == "two");
  }

  TEST_CASE_FIXTURE(with_poller, "who leaves before being told is not, and what was read goes with it") {
    client first{by};
    auto second = std::make_unique<client>(by);
    client third{by};
    put(first.theirs(), "one");
    put(second->theirs(), "two");
    put(third.theirs(), "three");
    first.after = [&] { second.reset(); };
    by.dispatch();
    CHECK(first.came == "one");
    CHECK(third.came == "three");
  }

  TEST_CASE_FIXTURE(with_poller, "what somebody who leaves did not ask for is nobody's") {
    client first{by};
    put(first.theirs(), "one");
    first.before = [&] { first.leave(); };
    by.dispatch();
    CHECK(first.told == 1);
    CHECK(first.came.empty());
  }

  TEST_CASE_FIXTURE(
      with_poller,
      "a transport is read ahead once it has been sent little four times, until it is sent much") {
    client witness{by};
    const auto ends = socket_pair();
    const auto on = make_tcp_transport(ends[0], by);
    on->allow_reading_ahead();
    std::vector<std::string> got;
    error_code ended;
    read_all(*on, got, ended);
    std::optional<bool> ahead;
    witness.before = [&] { ahead = unread(ends[0]) == 0; };
    const auto send = [&](std::size_t size) {
      got.clear();
      ahead.reset();
      put(witness.theirs(), "w");  // the first to be told
      put(ends[1], std::string(size, 'x'));
      by.dispatch();
      REQUIRE(ahead);
      CHECK(got == std::vector{std::string(size, 'x')});
      return *ahead;
    };
    for (int i = 0; i < 4; ++i) CHECK(!send(512));
    CHECK(send(512));
    CHECK(send(1'023));  // one read
    CHECK(send(100));
    for (const std::size_t much : {1'024U, 1'025U, 5'000U}) {
      CAPTURE(much);
      CHECK(send(much) == (much == 1'024));  // all that may be read ahead, and then perhaps more is left
      for (int i = 0; i < 4; ++i) CHECK(!send(512));
      CHECK(send(1));
    }
    for (int i = 0; i < 4; ++i) CHECK(send(1));
    ::close(ends[1]);
    by.dispatch();
    CHECK(ended == asio::error::eof);
    on->close(false);
    context.poll();
  }

  TEST_CASE_FIXTURE(with_poller, "without leave a transport is not read ahead") {
    client witness{by};
    const auto ends = socket_pair();
    const auto on = make_tcp_transport(ends[0], by);
    std::vector<std::string> got;
    error_code ended;
    read_all(*on, got, ended);
    witness.before = [&] { CHECK(unread(ends[0]) == 1); };
    for (int i = 0; i < 6; ++i) {
      put(witness.theirs(), "w");
      put(ends[1], "x");
      by.dispatch();
    }
    CHECK(got.size() == 6);
    on->close(false);
    context.poll();
    ::close(ends[1]);
  }

  TEST_CASE_FIXTURE(with_poller, "a reset behind a whole read-ahead is told behind the bytes") {
    asio::ip::tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    asio::ip::tcp::socket theirs{context};
    theirs.connect(acceptor.local_endpoint());
    auto accepted = acceptor.accept();
    accepted.non_blocking(true);
    const auto on = make_tcp_transport(accepted.release(), by);
    on->allow_reading_ahead();
    std::vector<std::string> got;
    error_code ended;
    read_all(*on, got, ended);
    const auto until = [&](auto done) {
      for (int i = 0; i < 1'000'000 && !done(); ++i) by.dispatch();
      REQUIRE(done());
    };
    for (std::size_t i = 1; i <= 4; ++i) {
      put(theirs.native_handle(), "x");
      until([&] { return got.size() == i; });
    }
    put(theirs.native_handle(), std::string(1'024, 'y'));
    theirs.set_option(asio::socket_base::linger{true, 0});
    theirs.close();
    until([&] { return static_cast<bool>(ended); });
    CHECK(got.back() == std::string(1'024, 'y'));
    CHECK(ended == asio::error::connection_reset);
    on->close(false);
    context.poll();
  }
}

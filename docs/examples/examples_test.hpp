#pragma once

// What the tests of the example modules share. No sockets and no sleeps: a module's interval is zero, its
// executor is the test's own context, and what it publishes is found in the mock's record.

#include "messages.hpp"
#include "orders.hpp"

#include <skein/testing.hpp>

#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <string>
#include <vector>

namespace skein::examples {

inline json::object parsed(const message& what) {
  return json::parse(json::string_view{what.payload().data(), what.payload().size()}).as_object();
}

inline std::string field(const message& what, std::string_view name) {
  return std::string{parsed(what).at(name).as_string()};
}

/// The code that a call is refused with; "none" if it is not.
template <class Call>
std::string refusal_of(Call&& call) {
  try {
    call();
  } catch (const request_error& e) {
    return e.code;
  }
  return "none";
}

struct fixture {
  asio::io_context context{1};
  testing::mock_topics topics;

  /// Starts a coroutine on the test's context, where its exceptions end the test.
  spawner spawn() {
    return [this](asio::awaitable<void> task) {
      asio::co_spawn(context, std::move(task), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
      });
    };
  }

  /// The values that a field had in all publications to this topic.
  std::vector<std::string> published(std::string_view topic, std::string_view name) const {
    std::vector<std::string> result;
    for (const auto& each : topics.record()) {
      if (each.topic == topic) result.push_back(field(each.what, name));
    }
    return result;
  }
};

}  // namespace skein::examples

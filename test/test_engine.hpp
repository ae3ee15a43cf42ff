#pragma once

// Which protocol engine the tests run on: what SKEIN_TEST_ENGINE says, `native` or `beast`; without it the
// default one. ctest runs both programs on either.

#include <skein/manager.hpp>

#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace skein::test {

inline skein::engine test_engine() {
  const char* const chosen = std::getenv("SKEIN_TEST_ENGINE");
  const std::string_view name = chosen == nullptr ? "" : chosen;
  if (name == "native") return skein::engine::native;
  if (name == "beast") return skein::engine::beast;
  if (!name.empty()) throw std::invalid_argument{"SKEIN_TEST_ENGINE"};
  return manager_options{}.engine;
}

}  // namespace skein::test

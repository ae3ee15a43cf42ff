#pragma once

// A message store in a directory of its own, and another connection to its database.

#include "store_support.hpp"

#include <skein/sqlite.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace skein::test {

class temporary_directory {
 public:
  temporary_directory() {
    auto name = (std::filesystem::temp_directory_path() / "skein-store-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no temporary directory"};
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  [[nodiscard]] strings names() const {
    strings all;
    for (const auto& each : std::filesystem::directory_iterator{path_}) all.push_back(each.path().filename());
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  std::filesystem::path path_;
};

/// Another program that uses the database.
class other_program {
 public:
  explicit other_program(const std::string& path) {
    sqlite3* handle = nullptr;
    const int code = sqlite3_open(path.c_str(), &handle);
    handle_.reset(handle);
    REQUIRE(code == SQLITE_OK);
    sqlite3_busy_timeout(handle, 10'000);
  }
  /// Returns the first column of the last row.
  std::string run(const std::string& sql) {
    std::string last;
    char* error = nullptr;
    const auto row = [](void* to, int, char** values, char**) {
      *static_cast<std::string*>(to) = values[0] == nullptr ? "" : values[0];
      return 0;
    };
    const int code = sqlite3_exec(handle_.get(), sql.c_str(), row, &last, &error);
    const std::string text = error == nullptr ? "" : error;
    sqlite3_free(error);
    INFO(sql << ": " << text);
    REQUIRE(code == SQLITE_OK);
    return last;
  }

 private:
  struct closer {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close(handle); }
  };
  std::unique_ptr<sqlite3, closer> handle_;
};

struct sqlite_fixture : store_caller {
  static constexpr int model_steps = 2'000;

  explicit sqlite_fixture(const std::function<void(sqlite_store_options&)>& change = [](auto&) {}) {
    options.path = directory.file("store.db");
    options.time = time;
    options.on_event = [this](const sqlite_event& what) {
      const std::lock_guard lock{mutex};
      events.push_back(what);
    };
    change(options);
    open();
  }
  void open() { store = make_sqlite_store(options); }
  void close() { store.reset(); }
  void reopen() {
    close();
    open();
  }
  [[nodiscard]] other_program look() const { return other_program{options.path}; }
  [[nodiscard]] std::vector<sqlite_event::kind> events_so_far() {
    const std::lock_guard lock{mutex};
    std::vector<sqlite_event::kind> kinds;
    for (const auto& each : events) kinds.push_back(each.what);
    return kinds;
  }
  /// Until the worker has taken everything that waits.
  void wait_until_taken() const {
    while (store->stats().queued != 0) std::this_thread::yield();
  }

  temporary_directory directory;
  sqlite_store_options options;
  std::mutex mutex;  // of `events`
  std::vector<sqlite_event> events;
};

}  // namespace skein::test

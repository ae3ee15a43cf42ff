#pragma once

// A connection to a database and its statements. Used by one thread at a time.

#include <chrono>
#include <cstdint>
#include <memory>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <string_view>

namespace skein::detail::sqlite {

/// What SQLite answered; `code()` is the primary result code.
class failure : public std::runtime_error {
 public:
  failure(int code, const std::string& text) : std::runtime_error(text), code_(code & 0xff) {}
  [[nodiscard]] int code() const noexcept { return code_; }
  /// The file holds something else than it should.
  [[nodiscard]] bool is_damage() const noexcept { return code_ == SQLITE_CORRUPT || code_ == SQLITE_NOTADB; }
  /// The fault is in what was asked for, and not in the state of the database: another request may succeed.
  [[nodiscard]] bool is_of_request() const noexcept {
    return code_ == SQLITE_CONSTRAINT || code_ == SQLITE_TOOBIG || code_ == SQLITE_MISMATCH ||
           code_ == SQLITE_RANGE;
  }

 private:
  int code_;
};

class connection {
 public:
  /// Opens or creates a database. Throws `failure`.
  explicit connection(const std::string& path);

  /// Runs statements that return nothing.
  void execute(const char* sql);
  /// The first column of the first row of a query; empty if there is none.
  [[nodiscard]] std::string text_of(const char* sql);
  [[nodiscard]] std::int64_t number_of(const char* sql);
  [[nodiscard]] bool in_transaction() const noexcept { return sqlite3_get_autocommit(get()) == 0; }
  /// Reads every byte of the database and of its log. Throws `failure` if the disk does not give them.
  void read_through();
  /// Closes without moving the log into the database, so that both can be looked at as they are.
  void close_as_is() noexcept;

  [[nodiscard]] sqlite3* get() const noexcept { return handle_.get(); }
  [[noreturn]] void fail(int code) const;

 private:
  struct closer {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, closer> handle_;
};

/// A prepared statement. Bind, then step, then read columns; a `statement::use` resets it.
class statement {
 public:
  statement(connection& of, const char* sql);

  /// One run of a statement: binds its parameters in order and resets it at its end.
  class use {
   public:
    template <class... Values>
    explicit use(statement& which, const Values&... values) : which_(which) {
      int at = 0;
      (which_.bind(++at, values), ...);
    }
    ~use() { which_.reset(); }
    use(const use&) = delete;
    use& operator=(const use&) = delete;

    /// Whether there is another row.
    bool step() { return which_.step(); }
    /// For a statement that returns exactly one row: takes it, or throws `failure`.
    void step_to_row() {
      if (!step()) throw failure{SQLITE_CORRUPT, "a row is missing"};
    }
    [[nodiscard]] std::int64_t number(int column) const noexcept {
      return sqlite3_column_int64(which_.handle_.get(), column);
    }
    [[nodiscard]] std::uint64_t count(int column) const noexcept {
      return static_cast<std::uint64_t>(number(column));
    }
    [[nodiscard]] std::string text(int column) const;

   private:
    statement& which_;
  };

  /// Runs it to its end; what it returns is ignored. Completes with how many rows it changed.
  template <class... Values>
  std::size_t run(const Values&... values) {
    use now{*this, values...};
    while (now.step()) {
    }
    return static_cast<std::size_t>(sqlite3_changes64(of_.get()));
  }

 private:
  void bind(int at, std::int64_t value);
  void bind(int at, std::uint64_t value);
  void bind(int at, int value) { bind(at, std::int64_t{value}); }
  void bind(int at, const std::string& text);
  /// A blob. What is viewed must last until the statement is reset.
  void bind(int at, std::string_view bytes);
  bool step();
  void reset() noexcept;

  struct finalizer {
    void operator()(sqlite3_stmt* handle) const noexcept { sqlite3_finalize(handle); }
  };
  connection& of_;
  std::unique_ptr<sqlite3_stmt, finalizer> handle_;
};

}  // namespace skein::detail::sqlite

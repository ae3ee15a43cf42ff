#include "ports/sqlite/connection.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

namespace skein::detail::sqlite {

connection::connection(const std::string& path) {
  // What SQLite makes may be read by everybody, as far as the umask goes; its other files follow the first.
  if (const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
      made >= 0)
    ::close(made);
  sqlite3* handle = nullptr;
  // A path is a path: no URIs. One thread at a time uses the connection, so it needs no lock of its own.
  const int code = sqlite3_open_v2(path.c_str(), &handle,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  handle_.reset(handle);  // also after a failure
  if (handle == nullptr) throw failure{SQLITE_NOMEM, "out of memory"};
  if (code != SQLITE_OK) fail(code);
  sqlite3_extended_result_codes(handle, 1);
}

void connection::execute(const char* sql) {
  if (const int code = sqlite3_exec(get(), sql, nullptr, nullptr, nullptr); code != SQLITE_OK) fail(code);
}

std::string connection::text_of(const char* sql) {
  statement query{*this, sql};
  statement::use now{query};
  return now.step() ? now.text(0) : std::string{};
}

std::int64_t connection::number_of(const char* sql) {
  statement query{*this, sql};
  statement::use now{query};
  return now.step() ? now.number(0) : 0;
}

void connection::read_through() {
  std::array<char, 65'536> part{};
  for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
    sqlite3_file* file = nullptr;
    const int found = sqlite3_file_control(get(), "main", which, static_cast<void*>(&file));
    if (found != SQLITE_OK) fail(found);
    if (file == nullptr || file->pMethods == nullptr) continue;
    sqlite3_int64 size = 0;
    if (const int code = file->pMethods->xFileSize(file, &size); code != SQLITE_OK) fail(code);
    for (sqlite3_int64 at = 0; at < size;) {
      const auto count = static_cast<int>(std::min<sqlite3_int64>(size - at, part.size()));
      if (const int code = file->pMethods->xRead(file, part.data(), count, at); code != SQLITE_OK) {
        throw failure{code, sqlite3_errstr(code)};
      }
      at += count;
    }
  }
}

void connection::close_as_is() noexcept {
  sqlite3_db_config(get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  handle_.reset();
}

void connection::fail(int code) const {
  const auto* const name = sqlite3_errstr(code);
  const std::string detail = sqlite3_errmsg(get());
  throw failure{code, detail == name ? detail : std::string{name} + ": " + detail};
}

statement::statement(connection& of, const char* sql) : of_(of) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(of.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) of.fail(code);
}

void statement::bind(int at, std::int64_t value) {
  if (const int code = sqlite3_bind_int64(handle_.get(), at, value); code != SQLITE_OK) of_.fail(code);
}

void statement::bind(int at, std::uint64_t value) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  bind(at, static_cast<std::int64_t>(std::min(value, most)));
}

void statement::bind(int at, const std::string& text) {
  const int code =
      sqlite3_bind_text64(handle_.get(), at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) of_.fail(code);
}

void statement::bind(int at, std::string_view bytes) {
  // Without an address it would be NULL instead of empty.
  const auto* const data = bytes.empty() ? "" : bytes.data();
  const int code = sqlite3_bind_blob64(handle_.get(), at, data, bytes.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) of_.fail(code);
}

bool statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) of_.fail(code);
  return false;
}

void statement::reset() noexcept {
  sqlite3_reset(handle_.get());
  sqlite3_clear_bindings(handle_.get());
}

std::string statement::use::text(int column) const {
  auto* const handle = which_.handle_.get();
  const auto* const data = static_cast<const char*>(sqlite3_column_blob(handle, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle, column));
  return data == nullptr ? std::string{} : std::string(data, size);
}

}  // namespace skein::detail::sqlite

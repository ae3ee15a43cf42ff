#include "ports/sqlite/schema.hpp"

#include "ports/history_rules.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <limits>
#include <system_error>

namespace skein::detail::sqlite {
namespace {

boost::system::system_error incompatible(const std::string& text) {
  return {make_error_code(errc::store_incompatible), text};
}

// Each step takes the schema from one version to the next, in a transaction of its own. A step that was
// released is never changed again. Times are nanoseconds since 1970.

void add_history(connection& to, wall_time) {
  // Publications from `first` to `last` are there; what lies below `first` only waits to be swept away.
  to.execute(R"(
    CREATE TABLE topics (
      id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
      first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL,
      max_age INTEGER NOT NULL, last_at INTEGER NOT NULL) STRICT;
    CREATE TABLE publications (
      topic INTEGER NOT NULL, position INTEGER NOT NULL, published_at INTEGER NOT NULL,
      opcode INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (topic, position)) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (topic INTEGER PRIMARY KEY) STRICT;)");
}

void add_offline_messages(connection& to, wall_time now) {
  // `next_end` is not later than the end of any message of the mailbox.
  to.execute(R"(
    CREATE TABLE mailboxes (
      id INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL, bytes INTEGER NOT NULL,
      next_end INTEGER NOT NULL) STRICT;
    CREATE INDEX mailboxes_by_end ON mailboxes (next_end);
    CREATE TABLE offline (
      mailbox INTEGER NOT NULL, id INTEGER NOT NULL, kept_at INTEGER NOT NULL, ends_at INTEGER NOT NULL,
      opcode INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (mailbox, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE ids (next INTEGER NOT NULL) STRICT;)");
  statement{to, "INSERT INTO ids (next) VALUES (?)"}.run(first_id(now));
}

void add_epoch_seed(connection& to, wall_time) {
  to.execute("CREATE TABLE epochs (seed TEXT NOT NULL) STRICT");
  statement{to, "INSERT INTO epochs (seed) VALUES (?)"}.run(new_epoch_seed());
}

constexpr std::array<void (*)(connection&, wall_time), schema_version> migrations{
    &add_history, &add_offline_messages, &add_epoch_seed};

/// Throws if the database is not ours. Completes with whether it is empty.
bool recognise(connection& database) {
  const auto id = database.number_of("PRAGMA application_id");
  const auto version = database.number_of("PRAGMA user_version");
  const auto tables = database.number_of("SELECT count(*) FROM sqlite_schema");
  if (id == 0 && version == 0 && tables == 0) return true;
  if (id != application_id) throw incompatible("the database belongs to another program");
  if (version > schema_version) {
    throw incompatible("the database has version " + std::to_string(version) + "; the newest known is " +
                       std::to_string(schema_version));
  }
  return false;
}

void migrate(connection& database, wall_time now) {
  while (true) {
    database.execute("BEGIN IMMEDIATE");
    // Asked again: another process may have been faster.
    const auto version = database.number_of("PRAGMA user_version");
    if (version < schema_version) {
      migrations[static_cast<std::size_t>(version)](database, now);
      database.execute(("PRAGMA application_id = " + std::to_string(application_id)).c_str());
      database.execute(("PRAGMA user_version = " + std::to_string(version + 1)).c_str());
    }
    database.execute("COMMIT");
    if (version + 1 >= schema_version) return;
  }
}

void limit_size(connection& database, std::uint64_t max_bytes) {
  if (max_bytes == 0) return;
  const auto page = static_cast<std::uint64_t>(database.number_of("PRAGMA page_size"));
  const auto pages = std::clamp<std::uint64_t>(max_bytes / page, 1, std::numeric_limits<std::int32_t>::max());
  database.execute(("PRAGMA max_page_count = " + std::to_string(pages)).c_str());
}

void check_sound(connection& database) {
  constexpr auto query = "PRAGMA quick_check(1)";
  if (database.text_of(query) == "ok") return;
  // A page that the disk would not give is a finding, too. That is no damage: the next time it may.
  database.read_through();
  if (const auto found = database.text_of(query); found != "ok") throw failure{SQLITE_CORRUPT, found};
}

std::unique_ptr<connection> open_checked(const opening& how) {
  auto database = std::make_unique<connection>(how.path);
  try {
    const auto wait = std::clamp<std::int64_t>(how.busy_timeout.count(), 0, std::numeric_limits<int>::max());
    sqlite3_busy_timeout(database->get(), static_cast<int>(wait));
    if (!recognise(*database)) check_sound(*database);
    if (database->text_of("PRAGMA journal_mode = WAL") != "wal") {
      throw failure{SQLITE_CANTOPEN, "a write-ahead log is not possible here"};
    }
    // A commit is flushed before it is reported. Checkpoints are made between commits, by the worker; a log
    // that grew beyond its usual size is cut back.
    database->execute(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
        "PRAGMA journal_size_limit = 16777216");
    limit_size(*database, how.max_bytes);
    migrate(*database, how.now);
  } catch (const failure& error) {
    if (error.is_damage()) database->close_as_is();
    throw;
  }
  return database;
}

std::string stamp(wall_time now) {
  const auto seconds = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  const auto size = std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &utc);
  return {text.data(), size};
}

/// Gives a damaged database and what belongs to it another name. The database itself comes last: if this is
/// interrupted, no log is left for the next database to take for its own.
std::string move_aside(const std::string& path, wall_time now) {
  namespace fs = std::filesystem;
  const auto wanted = path + ".corrupt-" + stamp(now);
  auto name = wanted;
  const auto taken = [&](const char* suffix) { return fs::exists(name + suffix); };
  for (int n = 2; taken("") || taken("-wal") || taken("-shm"); ++n) name = wanted + "-" + std::to_string(n);
  for (const auto* const suffix : {"-wal", "-shm", ""}) {
    if (fs::exists(path + suffix)) fs::rename(path + suffix, name + suffix);
  }
  return name;
}

}  // namespace

opened open_database(const opening& how) {
  opened result;
  try {
    try {
      result.database = open_checked(how);
    } catch (const failure& error) {
      if (!error.is_damage()) throw;
      result.damage = error.what();
      result.moved_aside = move_aside(how.path, how.now);
      result.database = open_checked(how);
    }
  } catch (const failure& error) {
    throw to_system_error(error);
  } catch (const std::filesystem::filesystem_error& error) {
    throw boost::system::system_error{make_error_code(errc::store_unavailable), error.what()};
  }
  return result;
}

errc to_errc(const failure& error) noexcept {
  if (error.code() == SQLITE_FULL) return errc::store_full;
  if (error.code() == SQLITE_TOOBIG) return errc::message_too_big;
  return errc::store_unavailable;
}

boost::system::system_error to_system_error(const failure& error) {
  return {make_error_code(to_errc(error)), error.what()};
}

}  // namespace skein::detail::sqlite

#pragma once

// A message store in an SQLite database: one file, which outlasts the process. Link `skein::sqlite`.
//
// What a call completes with has been written and flushed to the disk: it survives the end of the process, of
// the system, and of the power, as far as the disk keeps what it has confirmed. Calls that wait while a
// commit is under way share the next one.

#include <skein/clock.hpp>
#include <skein/message_store.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace skein {

/// Something about the database that somebody should know.
struct sqlite_event {
  enum class kind : std::uint8_t {
    moved_aside = 1,  ///< the database was damaged; `text` is the name that it has now. A new one has begun
    unavailable,      ///< a commit or a read has failed; `text` says why
    available,        ///< a commit has succeeded again
  };
  kind what;
  std::string text;
};

struct sqlite_store_options {
  /// The database; created if it is not there, its directory is not. While the store is open there are
  /// `path-wal` and `path-shm` beside it. Other programs may read it meanwhile; whoever keeps a read open for
  /// long keeps the log from being emptied.
  std::string path;
  std::size_t max_queued = 8192;  ///< calls that wait; past it `store_full`. Not 0
  std::size_t max_queued_bytes = std::size_t{32} * 1024 * 1024;  ///< their payload, likewise. Not 0
  std::size_t max_batch = 512;                                   ///< calls that share a commit; not 0
  std::uint64_t max_bytes = 0;  ///< of the database; past it `store_full`. 0: as much as the disk has
  /// How often what is over its age, expired or abandoned is looked for. Not 0.
  std::chrono::milliseconds sweep_interval{std::chrono::minutes{1}};
  /// A topic without history that nothing was published to for so long is forgotten. Zero or less: never.
  std::chrono::nanoseconds forget_idle_topics = std::chrono::days{7};
  /// For how long to wait for other programs that use the database. Zero or less: not at all.
  std::chrono::milliseconds busy_timeout{5000};
  std::shared_ptr<clock> time;  ///< empty: the machine's
  /// Called on the store's own thread, or by `make_sqlite_store`. Must not block or throw, nor own the store.
  std::function<void(const sqlite_event&)> on_event;
};

/// Opens the database, checks it, brings an older one up to date, and starts a thread that does the work.
/// Blocks meanwhile. A damaged database is renamed to `path.corrupt-` and the time, and a new one begun, with
/// new epochs.
///
/// Throws `std::invalid_argument` for an option that is not allowed, and `boost::system::system_error`:
/// `errc::store_incompatible` if the database is of a newer version or another program's, which is left as it
/// is; `errc::store_unavailable` or `errc::store_full` if it cannot be opened.
///
/// The destructor does what was asked for, waits for that, and closes the database.
[[nodiscard]] std::shared_ptr<message_store> make_sqlite_store(sqlite_store_options options);

}  // namespace skein

#pragma once

// A disk that fails when it is told to: a layer beneath SQLite, in front of the machine's own.

#include <cstdint>

namespace skein::test {

/// While it lives, databases that are opened are on this disk. One at a time; the databases are closed before
/// it goes. Nothing is really flushed. `fail` and `heal` are legal from any thread.
class failing_vfs {
 public:
  enum class part : std::uint8_t { any, database, log };
  struct fault {
    int code;                   ///< SQLite's, such as SQLITE_IOERR_WRITE
    std::uint64_t after;        ///< so many operations succeed before
    std::uint64_t times;        ///< so many fail then
    part where = part::any;     ///< on which file
    bool when_reading = false;  ///< whether reads count and fail, too, or only writes and flushes
    bool is_half_done = false;  ///< a write that fails has written its first half
  };

  failing_vfs();
  ~failing_vfs();
  failing_vfs(const failing_vfs&) = delete;
  failing_vfs& operator=(const failing_vfs&) = delete;

  void fail(const fault& what);
  /// From now on nothing fails. Returns how many operations have failed since `fail`.
  std::uint64_t heal();
};

}  // namespace skein::test

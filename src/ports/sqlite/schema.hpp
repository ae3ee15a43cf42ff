#pragma once

// Opening a database: whose it is, whether it is sound, and bringing it up to date.

#include "ports/sqlite/connection.hpp"

#include <skein/clock.hpp>
#include <skein/error.hpp>

#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace skein::detail::sqlite {

/// "Skei", at a fixed place of the file's header.
inline constexpr std::int64_t application_id = 0x536b6569;
/// The version that this code writes: one for each migration.
inline constexpr std::int64_t schema_version = 3;

struct opening {
  std::string path;
  std::chrono::milliseconds busy_timeout{0};
  std::uint64_t max_bytes = 0;
  wall_time now;  ///< names what is moved aside, and the first id of a new database
};

struct opened {
  std::unique_ptr<connection> database;
  std::string moved_aside;  ///< what a damaged database is called now; empty if there was none
  std::string damage;       ///< what was wrong with it
};

/// Throws `boost::system::system_error`.
[[nodiscard]] opened open_database(const opening& how);

/// As it is reported to callers.
[[nodiscard]] errc to_errc(const failure& error) noexcept;
[[nodiscard]] boost::system::system_error to_system_error(const failure& error);

}  // namespace skein::detail::sqlite

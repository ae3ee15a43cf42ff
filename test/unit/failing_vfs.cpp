#include "failing_vfs.hpp"

#include <mutex>
#include <new>
#include <sqlite3.h>
#include <stdexcept>

namespace skein::test {
namespace {

using part = failing_vfs::part;

struct state {
  std::mutex mutex;  // of the next three
  failing_vfs::fault next{};
  std::uint64_t seen = 0;
  std::uint64_t failed = 0;
  sqlite3_vfs* machine = nullptr;
};
state disk;

// The machine's file follows behind it in memory.
struct file : sqlite3_file {
  part which;
};

sqlite3_file* real(sqlite3_file* of) {
  return reinterpret_cast<sqlite3_file*>(static_cast<file*>(of) + 1);
}

/// What this operation fails with; SQLITE_OK if it does not.
int code_for(sqlite3_file* on, bool is_reading) {
  const std::lock_guard lock{disk.mutex};
  const auto& next = disk.next;
  if (next.times == 0 || (is_reading && !next.when_reading)) return SQLITE_OK;
  if (next.where != part::any && next.where != static_cast<file*>(on)->which) return SQLITE_OK;
  const auto number = disk.seen++;
  if (number < next.after || number - next.after >= next.times) return SQLITE_OK;
  ++disk.failed;
  return next.code;
}

bool is_half_done() {
  const std::lock_guard lock{disk.mutex};
  return disk.next.is_half_done;
}

int close_file(sqlite3_file* self) {
  return real(self)->pMethods->xClose(real(self));
}
int read(sqlite3_file* self, void* to, int size, sqlite3_int64 at) {
  if (code_for(self, true) != SQLITE_OK) return SQLITE_IOERR_READ;
  return real(self)->pMethods->xRead(real(self), to, size, at);
}
int write(sqlite3_file* self, const void* from, int size, sqlite3_int64 at) {
  const int code = code_for(self, false);
  if (code == SQLITE_OK) return real(self)->pMethods->xWrite(real(self), from, size, at);
  if (is_half_done()) (void)real(self)->pMethods->xWrite(real(self), from, size / 2, at);
  return code;
}
int truncate(sqlite3_file* self, sqlite3_int64 size) {
  if (const int code = code_for(self, false); code != SQLITE_OK) return code;
  return real(self)->pMethods->xTruncate(real(self), size);
}
int sync(sqlite3_file* self, int) {
  return code_for(self, false) == SQLITE_OK ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}
int file_size(sqlite3_file* self, sqlite3_int64* size) {
  return real(self)->pMethods->xFileSize(real(self), size);
}
int lock(sqlite3_file* self, int level) {
  return real(self)->pMethods->xLock(real(self), level);
}
int unlock(sqlite3_file* self, int level) {
  return real(self)->pMethods->xUnlock(real(self), level);
}
int check_lock(sqlite3_file* self, int* is_locked) {
  return real(self)->pMethods->xCheckReservedLock(real(self), is_locked);
}
int control(sqlite3_file* self, int what, void* with) {
  return real(self)->pMethods->xFileControl(real(self), what, with);
}
int sector_size(sqlite3_file* self) {
  return real(self)->pMethods->xSectorSize(real(self));
}
int characteristics(sqlite3_file* self) {
  return real(self)->pMethods->xDeviceCharacteristics(real(self));
}
int shm_map(sqlite3_file* self, int page, int size, int extend, void volatile** to) {
  return real(self)->pMethods->xShmMap(real(self), page, size, extend, to);
}
int shm_lock(sqlite3_file* self, int from, int count, int flags) {
  return real(self)->pMethods->xShmLock(real(self), from, count, flags);
}
void shm_barrier(sqlite3_file* self) {
  real(self)->pMethods->xShmBarrier(real(self));
}
int shm_unmap(sqlite3_file* self, int remove) {
  return real(self)->pMethods->xShmUnmap(real(self), remove);
}

// Version 2: without memory mapping, so that every read comes by.
const sqlite3_io_methods methods{
    2,         close_file, read,    write,       truncate,        sync,    file_size, lock,
    unlock,    check_lock, control, sector_size, characteristics, shm_map, shm_lock,  shm_barrier,
    shm_unmap, nullptr,    nullptr};

int open(sqlite3_vfs*, const char* name, sqlite3_file* self, int flags, int* flags_out) {
  self->pMethods = nullptr;
  auto* const made = static_cast<file*>(self);
  made->which = (flags & SQLITE_OPEN_MAIN_DB) != 0 ? part::database
                : (flags & SQLITE_OPEN_WAL) != 0   ? part::log
                                                   : part::any;
  const int code = disk.machine->xOpen(disk.machine, name, real(self), flags, flags_out);
  if (code == SQLITE_OK) self->pMethods = &methods;
  return code;
}

sqlite3_vfs layer;

}  // namespace

failing_vfs::failing_vfs() {
  disk.machine = sqlite3_vfs_find(nullptr);
  // Everything that does not concern an open file is the machine's. Its functions look for their own data
  // behind the pointer that they are given, which is copied with the rest.
  layer = *disk.machine;
  layer.pNext = nullptr;
  layer.zName = "skein-failing";
  layer.szOsFile = static_cast<int>(sizeof(file)) + disk.machine->szOsFile;
  layer.xOpen = open;
  if (sqlite3_vfs_register(&layer, 1) != SQLITE_OK) throw std::runtime_error{"no failing disk"};
}

failing_vfs::~failing_vfs() {
  heal();
  sqlite3_vfs_register(disk.machine, 1);
  sqlite3_vfs_unregister(&layer);
}

void failing_vfs::fail(const fault& what) {
  const std::lock_guard lock{disk.mutex};
  disk.next = what;
  disk.seen = 0;
  disk.failed = 0;
}

std::uint64_t failing_vfs::heal() {
  const std::lock_guard lock{disk.mutex};
  disk.next.times = 0;
  return disk.failed;
}

}  // namespace skein::test

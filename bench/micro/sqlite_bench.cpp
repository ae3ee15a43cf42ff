// Appending to an SQLite store, flushed to the disk that TMPDIR is on.

#include "store_bench.hpp"

#include <skein/sqlite.hpp>

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

namespace fs = std::filesystem;

/// CPU is that of the whole process: the callers' thread and the store's.
void sqlite(benchmark::State& state) {
  auto directory = (fs::temp_directory_path() / "skein-bench-XXXXXX").string();
  skein::micro::check(::mkdtemp(directory.data()) != nullptr, "there is a temporary directory");
  skein::sqlite_store_options options;
  options.path = directory + "/store.db";
  auto store = skein::make_sqlite_store(options);
  skein::micro::measure_appends(state, *store);
  store.reset();
  fs::remove_all(directory);
}
BENCHMARK(sqlite)
    ->Name("store/sqlite/append")
    ->ArgName("callers")
    ->Arg(1)
    ->Arg(16)
    ->Arg(256)
    ->UseRealTime()
    ->MeasureProcessCPUTime();

}  // namespace

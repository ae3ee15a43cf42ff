// skein-guard: runs one workload under valgrind; guard.py reads what it counted. Without an argument it says
// what there is, and what it was built with.

#include "workloads.hpp"

#include <boost/version.hpp>

#include <exception>
#include <gnu/libc-version.h>
#include <iostream>
#include <string>
#include <string_view>

namespace {
#ifdef __clang__
constexpr std::string_view compiler = "";  // its version names it
#else
constexpr std::string_view compiler = "g++ ";
#endif

struct reader {
  skein::engine kind;
  std::string_view name;
};
// A workload that does not read is run with the first.
constexpr reader readers[] = {{skein::engine::native, "native"}, {skein::engine::beast, "beast"}};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cout << "compiler " << compiler << __VERSION__ << '\n'
              << "flags " << SKEIN_GUARD_FLAGS << '\n'
              << "boost " << BOOST_LIB_VERSION << '\n'
              << "glibc " << gnu_get_libc_version() << '\n';
  }
  for (const auto& each : skein::guard::workloads()) {
    for (const auto& reader : readers) {
      const auto name = std::string{each.name} + (each.each_engine ? "/" + std::string{reader.name} : "");
      if (argc < 2) {
        std::cout << "workload " << name << ' ' << each.operation << '\n';
      } else if (name == argv[1]) {
        try {
          std::cout << "operations " << each.run(reader.kind) << '\n';
        } catch (const std::exception& error) {
          std::cerr << "skein-guard: " << name << ": " << error.what() << '\n';
          return 1;
        }
        return 0;
      }
      if (!each.each_engine) break;
    }
  }
  if (argc < 2) return 0;
  std::cerr << "skein-guard: there is no workload " << argv[1] << '\n';
  return 2;
}

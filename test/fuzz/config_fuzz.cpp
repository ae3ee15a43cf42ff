// A fuzz target: any bytes as a configuration file. Either all of it is allowed, and shows as text what can
// be read again, or it is refused in one printable line.

#include "app/options.hpp"
#include "fuzz_input.hpp"

#include <skein/config.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("config", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  fuzz::require(::ftruncate(file, 0) == 0 && ::pwrite(file, data, size, 0) == static_cast<ssize_t>(size),
                "no file");
  const std::array<const char*, 3> arguments{"skein-server", "--config", path.c_str()};
  try {
    const auto loaded = skein::config::load(static_cast<int>(arguments.size()), arguments.data());
    for (const auto& each : skein::app::options()) {
      const auto shown = each.show(loaded);
      if (shown.empty() || each.repeatable) continue;
      skein::config again;
      fuzz::require(each.set(again, {shown}), "what is shown is not allowed");
      fuzz::require(each.show(again) == shown, "what is shown is read as something else");
    }
  } catch (const skein::configuration_error& refused) {
    const std::string_view why{refused.what()};
    fuzz::require(!why.empty() && std::all_of(why.begin(), why.end(),
                                              [](unsigned char c) { return c >= ' ' && c != 127; }),
                  "a refusal that is not one printable line");
  } catch (const skein::help_requested&) {
  }
  return 0;
}

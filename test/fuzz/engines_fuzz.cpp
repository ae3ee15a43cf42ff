// A fuzz target: any bytes, cut anywhere, into both engines, which must make the same of them but for the
// differences that engine_comparison.hpp allows; and the native engine must make the same of them in one
// piece.
//
// An input: a byte of settings, a byte of cuts, and then the peer's bytes, or frames to be made of them.

#include "integration/deflate_peer.hpp"
#include "unit/engine_comparison.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

using namespace engine_runs;

constexpr unsigned compression_bit = 1, composed_bit = 2;

engine_options options_of(unsigned settings) {
  constexpr std::array<engine_options, 4> limits{
      {{.max_message_bytes = 2'000, .max_message_frames = 8},
       {.max_message_bytes = 60, .max_message_frames = 3},
       {.max_message_bytes = 0, .max_message_frames = 0},
       {.max_message_bytes = 70'000, .max_message_frames = 1'000}}};
  auto options = limits[settings >> 2U & 3U];
  options.compression = (settings & compression_bit) != 0;
  // Without a limit Beast's engine is given 16 MiB for compressed messages, which takes too long.
  if (options.compression && options.max_message_bytes == 0) options.max_message_bytes = 500;
  return options;
}

/// Frames of a first byte, a length and a payload each; with RSV1 and RSV2 the payload is deflated.
std::string composed(std::string_view recipe) {
  std::string bytes;
  while (recipe.size() >= 2) {
    const auto first = static_cast<unsigned char>(recipe[0]);
    const auto size = static_cast<unsigned char>(recipe[1]);
    const auto payload = recipe.substr(2, size);
    recipe.remove_prefix(2 + payload.size());
    auto rsv = first >> 4U & 7U;
    const auto key = 0x01020304U * size;
    if ((rsv & 6U) == 6U) {
      rsv &= ~2U;
      const auto deflated =
          skein::test::deflate_payload(payload, {.level = size % 10, .window_bits = 9 + size % 7});
      bytes += frame(first & 0x0fU, deflated, {.fin = (first & 0x80U) != 0, .rsv = rsv, .key = key});
    } else {
      bytes += frame(first & 0x0fU, payload, {.fin = (first & 0x80U) != 0, .rsv = rsv, .key = key});
    }
  }
  return bytes.append(recipe);
}

void print(const char* who, const events& log) {
  std::fprintf(stderr, "%s:\n", who);
  for (const auto& one : log) {
    std::fprintf(stderr, "  kind %d number %u bytes %zu\n", static_cast<int>(one.what), one.number,
                 one.bytes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto options = options_of(data[0]);
  const std::string_view rest{reinterpret_cast<const char*>(data) + 2, size - 2};
  const auto bytes = (data[0] & composed_bit) != 0 ? composed(rest) : std::string{rest};
  const auto result = compare(options, bytes, random_cuts(data[1]), random_cuts(data[1] + 256U));
  auto native = options;
  native.kind = skein::engine::native;
  const auto at_once = run(native, bytes);
  if (result.alike && at_once == result.native) return 0;
  std::fprintf(stderr, "%s\n", result.alike ? "the cuts matter" : result.difference.c_str());
  print("native", result.native);
  print("native at once", at_once);
  print("beast", result.beast);
  std::abort();
}

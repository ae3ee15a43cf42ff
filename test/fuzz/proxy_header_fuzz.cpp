// A fuzz target: any bytes as the beginning of a connection, at once and as they arrive one by one.

#include "fuzz_input.hpp"
#include "security/proxy_protocol.hpp"

#include <cstring>
#include <memory>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skein::detail;
  using status = proxy_header::status;
  constexpr std::size_t limit = 600;
  const auto parse = [data](std::size_t length) {
    const auto copy = std::make_unique<char[]>(length);
    if (length != 0) std::memcpy(copy.get(), data, length);
    return parse_proxy_header({copy.get(), length}, limit);
  };
  const auto whole = parse(size);
  fuzz::require(whole.state != status::done ||
                    (whole.consumed != 0 && whole.consumed <= size && whole.consumed <= limit),
                "more was consumed than there was");
  fuzz::require(whole.state != status::need_more || size < limit, "more is needed than the limit allows");
  fuzz::require(whole.state == status::done || !whole.endpoints, "addresses of a header that is none");
  bool decided = false;
  for (std::size_t length = 0; length <= size && length <= limit + 1; ++length) {
    const auto part = parse(length);
    if (decided || part.state != status::need_more) {
      fuzz::require(part.state == whole.state && part.consumed == whole.consumed, "the cuts matter");
      fuzz::require(part.state != status::done || length >= part.consumed, "done before its end");
      fuzz::require(part.error == whole.error, "another error for the same bytes");
      decided = true;
    }
  }
  return 0;
}

#include "counting_new.hpp"

// A sanitizer has an operator new of its own, which must stay.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SKEIN_TEST_SANITIZED
#endif
#endif

#include <cstdlib>
#include <new>

namespace {
thread_local counting::count counted;
thread_local std::size_t until_failure = 0;
thread_local bool failed = false;
}  // namespace

void counting::let_fail(std::size_t number) noexcept {
  until_failure = number;
  failed = false;
}

bool counting::has_failed() noexcept {
  return failed;
}

counting::count counting::so_far() noexcept {
  return counted;
}

#ifdef SKEIN_TEST_SANITIZED
const bool counting::counts = false;
#else
const bool counting::counts = true;

void* operator new(std::size_t size) {
  ++counted.allocations;
  counted.bytes += size;
  if (until_failure != 0 && --until_failure == 0) {
    failed = true;
    throw std::bad_alloc{};
  }
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc{};
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

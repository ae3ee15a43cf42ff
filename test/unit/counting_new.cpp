#include "counting_new.hpp"

#include <cstdlib>
#include <new>

namespace {
thread_local counting::count counted;
}

counting::count counting::so_far() noexcept {
  return counted;
}

void* operator new(std::size_t size) {
  ++counted.allocations;
  counted.bytes += size;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc{};
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

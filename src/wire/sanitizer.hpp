#pragma once

// Whether this is built with a sanitizer that must see each block of memory come and go, and each system
// call.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SKEIN_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SKEIN_SANITIZED 1
#endif
#endif
#ifndef SKEIN_SANITIZED
#define SKEIN_SANITIZED 0
#endif

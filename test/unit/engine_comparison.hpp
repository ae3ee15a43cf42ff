#pragma once

// The same bytes into both engines: what may differ is said here, and in docs/explanation/engines.md.

#include "engine_runs.hpp"

#include <algorithm>
#include <string>
#include <string_view>

namespace engine_runs {

/// What the two made of the same bytes.
struct comparison {
  events native;
  events beast;
  bool alike = false;
  std::string difference{};  ///< which of the allowed differences, or why they are not alike
};

namespace comparing {

inline bool is_failure(const events& log) {
  return !log.empty() && log.back().what == event::kind::failure;
}

inline events without_failure(events log) {
  if (is_failure(log)) log.pop_back();
  return log;
}

inline bool begins_with(const events& log, const events& beginning) {
  return beginning.size() <= log.size() && std::equal(beginning.begin(), beginning.end(), log.begin());
}

/// Whether both failed with codes of which each is right.
inline bool codes_alike(unsigned native, unsigned beast, const engine_options& options) {
  if (native == beast) return true;
  // A length of 2^63 or more breaks RFC 6455 section 5.2, and is too big as well.
  if (native == 1002 && beast == 1009) return true;
  // Without a limit Beast accepts it, and reads on.
  if (native == 1002 && beast == 1007 && options.max_message_bytes == 0) return true;
  // The text of a close frame: section 8.1 says what is not UTF-8 is 1007, Beast calls it a protocol error.
  if (native == 1007 && beast == 1002) return true;
  // A frame too many whose header is wrong as well: the native engine counts before it reads on.
  if (native == 1008 && beast == 1002) return true;
  // RFC 7692 names no code, and which fault comes first depends on how much is inflated in a step: Beast may
  // come to a frame too many before it finds that the data are wrong.
  const auto of_data = [](unsigned code) { return code == 1002 || code == 1007 || code == 1009; };
  if (options.compression && native == 1007 && beast == 1008) return true;
  return options.compression && of_data(native) && of_data(beast);
}

}  // namespace comparing

/// Feeds both, each with its own cuts, and compares.
inline comparison compare(engine_options options, std::string_view bytes, const cuts& native_cuts,
                          const cuts& beast_cuts) {
  using namespace comparing;
  comparison result;
  options.kind = engine::native;
  result.native = run(options, bytes, native_cuts);
  options.kind = engine::beast;
  running_engine beast{options};
  recorder sink;
  feed_all(beast, bytes, beast_cuts, sink);

  // The native engine fails at the first byte that must be wrong, Beast perhaps only behind the header or the
  // frame: it is given some more.
  if (is_failure(result.native) && !sink.over()) {
    result.difference = "native fails sooner";
    // The rest of a header, and of the longest control frame or of a character: no whole message.
    for (int i = 0; i < 160 && !sink.over(); ++i) beast.feed(std::string_view{"\0", 1}, sink);
  }
  result.beast = std::move(sink.log);

  if (result.native == result.beast) {
    result.alike = true;
    return result;
  }
  const auto native_before = without_failure(result.native);
  const auto beast_before = without_failure(result.beast);
  if (is_failure(result.native) && is_failure(result.beast) && native_before == beast_before) {
    result.alike = codes_alike(result.native.back().number, result.beast.back().number, options);
    if (result.difference.empty()) result.difference = "another code";
  } else if (options.compression && is_failure(result.beast) && begins_with(result.native, beast_before)) {
    result.difference = "Beast refuses what inflates";
    result.alike = true;
  } else if (options.compression && is_failure(result.native) && begins_with(result.beast, native_before)) {
    result.difference = "Beast accepts a stream that is cut";
    result.alike = true;
  } else if (is_failure(result.native) && native_before == result.beast && options.max_message_bytes == 0) {
    result.difference = "without a limit Beast waits for 2^63 bytes";
    result.alike = result.native.back().number == 1002;
  } else if (is_failure(result.beast) && begins_with(result.native, beast_before) &&
             result.native.size() == result.beast.size()) {
    result.difference = "code 1014";
    result.alike = result.native.back().what == event::kind::close && result.native.back().number == 1014;
  } else {
    result.difference = "unlike";
  }
  return result;
}

}  // namespace engine_runs

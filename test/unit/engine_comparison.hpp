#pragma once

// The same bytes into both engines. The native one must do what a third, plain reading of them says; where
// Beast does otherwise, it must be in a way that is listed here, and in docs/explanation/engines.md.

#include "engine_reference.hpp"
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

inline std::size_t messages_in(const events& log) {
  return static_cast<std::size_t>(
      std::ranges::count_if(log, [](const event& one) { return one.what == event::kind::message; }));
}

/// Differences that have nothing to do with compression. Empty: none of them.
inline std::string plain_difference(const reading& right, const events& beast,
                                    const engine_options& options) {
  const auto before = without_failure(right.log);
  const auto beast_before = without_failure(beast);
  const auto beast_code = is_failure(beast) ? beast.back().number : 0;
  const bool unlimited = options.max_message_bytes == 0;
  if (is_failure(right.log) && before == beast_before) {
    // RFC 6455 section 5.2 forbids it, and it is too big as well. Without a limit Beast reads on.
    if (right.why == fault::length && beast_code == 1009) return "2^63 bytes are too many";
    if (right.why == fault::length && unlimited && (beast_code == 0 || beast_code == 1007))
      return "without a limit Beast waits for 2^63 bytes";
    // Section 8.1 says 1007 of what is not UTF-8, Beast calls it a protocol error.
    if (right.why == fault::close_text && beast_code == 1002) return "the text of a close frame";
    // What is told of a compressed message without payload is told before Beast has seen its header.
    if (right.why == fault::header && right.under_rsv1 && options.compression && beast_code == 1007)
      return "a wrong header, of an empty compressed message";
    // The native engine counts before it reads on.
    if (right.why == fault::too_many_frames && beast_code == 1002) return "a frame too many, and a wrong one";
  }
  const bool closed = !right.log.empty() && right.log.back().what == event::kind::close;
  if (closed && right.log.back().number == 1014 && beast_code == 1002 &&
      beast_before == events(right.log.begin(), right.log.end() - 1))
    return "code 1014";
  return {};
}

/// Differences within a compressed message, the first that is not the same in both. Empty: none of them.
inline std::string compressed_difference(const reading& right, const events& beast) {
  const auto before = without_failure(right.log);
  const auto beast_before = without_failure(beast);
  const auto parted = std::ranges::mismatch(right.log, beast);
  const auto which = messages_in(events(right.log.begin(), parted.in1));
  if (which >= right.messages.size() || !right.messages[which].compressed) return {};
  const auto& message = right.messages[which];
  const bool wrong = right.of_data && which + 1 == right.messages.size();

  // What it appends to a message that is whole without it begins a block, which the next message goes on
  // with.
  if (std::any_of(right.messages.begin(), right.messages.begin() + static_cast<std::ptrdiff_t>(which),
                  [](const sent_message& one) { return one.whole; }))
    return "Beast is still in a block of another message";
  if (is_failure(beast) && begins_with(before, beast_before)) {
    // RFC 7692 names no code, and which fault Beast comes to first depends on how much it inflates in a step.
    const auto code = beast.back().number;
    if (wrong && (code == 1002 || code == 1007 || code == 1008 || code == 1009)) return "another code";
    // Section 7.2.3.4; and section 7.2.3.6: an empty message is not compressed to nothing.
    if (message.final_block && (code == 1002 || code == 1007)) return "Beast refuses a final block";
    if (message.empty && code == 1007) return "Beast refuses an empty compressed message";
    return {};
  }
  if (!wrong || !begins_with(beast_before, before)) return {};
  if (right.why == fault::cut) return "Beast accepts a stream that is cut";
  if (right.why == fault::too_long) return "Beast does not count what is compressed";
  const auto compressed_before = std::count_if(right.messages.begin(), right.messages.end() - 1,
                                               [](const sent_message& one) { return one.compressed; });
  if (right.why == fault::too_far_back && compressed_before != 0) return "Beast remembers other messages";
  // What comes between the frames of a message may come before its fault is found, but not the message.
  return messages_in(beast) == which ? "Beast has not come to it" : std::string{};
}

}  // namespace comparing

/// Whether the native engine is right, and Beast too but for what is allowed.
inline comparison judge(const reading& right, events native, events beast, const engine_options& options) {
  using namespace comparing;
  comparison result{std::move(native), std::move(beast)};
  if (result.native != right.log) {
    result.difference = "the native engine is wrong";
    return result;
  }
  if (result.beast != right.log) {
    result.difference = plain_difference(right, result.beast, options);
    if (result.difference.empty()) result.difference = compressed_difference(right, result.beast);
    if (result.difference.empty()) {
      result.difference = "unlike";
      return result;
    }
  }
  result.alike = true;
  return result;
}

/// Feeds both, each with its own cuts, and compares.
inline comparison compare(engine_options options, std::string_view bytes, const cuts& native_cuts,
                          const cuts& beast_cuts) {
  options.kind = engine::native;
  auto native = run(options, bytes, native_cuts);
  options.kind = engine::beast;
  running_engine beast{options};
  recorder sink;
  feed_all(beast, bytes, beast_cuts, sink);
  // The native engine fails at the first byte that must be wrong, Beast perhaps only behind the header or the
  // frame: it is given the rest of a header, and of the longest control frame or of a character. That is no
  // whole message.
  if (comparing::is_failure(native))
    for (int i = 0; i < 160 && !sink.over(); ++i) beast.feed(std::string_view{"\0", 1}, sink);
  return judge(read_plainly(bytes, options), std::move(native), std::move(sink.log), options);
}

}  // namespace engine_runs
